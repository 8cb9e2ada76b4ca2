"""Commands about sweeps: plan, sweep, submit, redo, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsray.cli.app import app
from hsray.cli.options import (
    DATA,
    RUNS,
    TABLE,
    URI,
    Data,
    Experiment,
    Report,
    Runs,
    RunsOrStore,
    ShortFormat,
    Smoke,
    Uri,
    picture_path,
)


@app.command()
def plan(
    experiment: Experiment,
    data: Data = DATA,
    runs: RunsOrStore = str(RUNS),
    smoke: Smoke = False,
    format: ShortFormat = TABLE,
) -> None:
    """Print what an experiment still needs (runs, device-hours, memory, disk), or all that cannot work. Writes nothing.

    Builds and runs every model once, reads every image's ends and labels, and asks the nodes of `RAY_ADDRESS`.

    Examples: `hsray plan experiments/demo.yaml` · `RAY_ADDRESS=auto hsray plan mine.yaml --format json`
    """
    from hsray.commands.plan import print_plan

    print_plan(experiment, data, runs, smoke=smoke, format=format.value)


@app.command()
def sweep(
    experiment: Experiment,
    data: Data = DATA,
    runs: RunsOrStore = str(RUNS),
    tracking_uri: Uri = URI,
    smoke: Smoke = False,
    report: Report = True,
) -> None:
    """Run an experiment: tune every cell, train the winners under each seed. The same command again goes on.

    On a cluster, set `RAY_ADDRESS` and `MLFLOW_TRACKING_URI`, with `--data` on a file system that all nodes see, and
    `--runs` on one too or in a store: `s3://bucket/prefix`, with its endpoint and credentials in the environment.

    At the end report.html lies in the sweep's folder and in MLflow; with a store, in MLflow and, on the machine
    that ran this command, below `HSRAY_SCRATCH` or else `.hsray-runs`, but not in the store.

    Example: `hsray sweep experiments/demo.yaml`
    """
    from hsray.commands.sweeps import run_sweep

    run_sweep(experiment, data, runs, tracking_uri, smoke=smoke, report=report)


@app.command()
def submit(
    experiment: Experiment,
    address: Annotated[
        str, typer.Option(envvar="RAY_API_SERVER_ADDRESS", help="The dashboard of the cluster's head.")
    ] = "http://127.0.0.1:8265",
    data: Annotated[str | None, typer.Option(help="Folder on the cluster; else its own HSRAY_DATA.")] = None,
    runs: Annotated[str | None, typer.Option(help="Folder on the cluster; else its own HSRAY_RUNS.")] = None,
    tracking_uri: Annotated[
        str | None, typer.Option(help="MLflow as the cluster sees it; else its own MLFLOW_TRACKING_URI.")
    ] = None,
    smoke: Smoke = False,
    follow: Annotated[bool, typer.Option("--follow", help="Print what it prints until it ends.")] = False,
) -> None:
    """Run an experiment as a Ray job that outlives this machine: the file travels, the rest is on the cluster.

    The same hsray must be installed there. What holds passwords is set in the cluster's own environment.

    Example: `hsray submit study.yaml --address http://head:8265 --data /shared/data --runs /shared/runs`
    """
    from hsray.commands.submit import submit_sweep

    submit_sweep(experiment, address, data, runs, tracking_uri, smoke=smoke, follow=follow)


@app.command()
def redo(
    experiment: Experiment,
    cell: Annotated[list[str], typer.Argument(help="Values of its axes, as plan prints them; enough of them.")],
    data: Data = DATA,
    runs: RunsOrStore = str(RUNS),
    final: Annotated[list[int] | None, typer.Option(min=0, help="Only the final of this seed; repeatable.")] = None,
    all_finals: Annotated[bool, typer.Option("--all-finals", help="Only the finals, under every seed.")] = False,
    smoke: Smoke = False,
) -> None:
    """Repeat a cell, or finals of it, with the next `hsray sweep`. The old runs stay, marked as superseded.

    Examples: `hsray redo study.yaml hyko2 runet 0.1` · `hsray redo study.yaml hyko2 runet 0.1 --final 3`
    """
    from hsray.commands.sweeps import redo_runs

    redo_runs(experiment, cell, data, runs, final or [], all_finals=all_finals, smoke=smoke)


@app.command()
def demo(
    data: Data = DATA,
    runs: Runs = RUNS,
    tracking_uri: Uri = URI,
    picture: Annotated[Path, typer.Option(callback=picture_path, help="Where to write the picture.")] = Path(
        "demo.png"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="A reduced budget: shows that all works.")] = False,
    report: Report = True,
) -> None:
    """Compare three ways of transfer on a real scene (Indian Pines), in minutes, on a laptop.

    Example: `hsray demo`
    """
    from hsray.demo import run_demo

    run_demo(data, runs, tracking_uri, picture, quick=quick, report=report)
