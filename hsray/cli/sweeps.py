"""Commands about sweeps: plan, sweep, demo."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsray.cli.app import app
from hsray.cli.options import DATA, RUNS, URI, Data, Experiment, Runs, Smoke, Uri, picture_path


@app.command()
def plan(experiment: Experiment, data: Data = DATA, runs: Runs = RUNS, smoke: Smoke = False) -> None:
    """Print the cells of an experiment and what each still needs, or all its problems. Nothing is written.

    Example: `hsray plan experiments/demo.yaml`
    """
    from hsray.commands.sweeps import print_plan

    print_plan(experiment, data, runs, smoke=smoke)


@app.command()
def sweep(
    experiment: Experiment, data: Data = DATA, runs: Runs = RUNS, tracking_uri: Uri = URI, smoke: Smoke = False
) -> None:
    """Run an experiment: tune every cell, train the winners under each seed. The same command again goes on.

    On a cluster, set `RAY_ADDRESS` and `MLFLOW_TRACKING_URI`, with `--data` and `--runs` on a shared file system.

    Example: `hsray sweep experiments/demo.yaml`
    """
    from hsray.commands.sweeps import run_sweep

    run_sweep(experiment, data, runs, tracking_uri, smoke=smoke)


@app.command()
def demo(
    data: Data = DATA,
    runs: Runs = RUNS,
    tracking_uri: Uri = URI,
    picture: Annotated[Path, typer.Option(callback=picture_path, help="Where to write the picture.")] = Path(
        "demo.png"
    ),
    quick: Annotated[bool, typer.Option("--quick", help="A reduced budget: shows that all works.")] = False,
) -> None:
    """Compare three ways of transfer on a real scene (Indian Pines), in minutes, on a laptop.

    Example: `hsray demo`
    """
    from hsray.demo import run_demo

    run_demo(data, runs, tracking_uri, picture, quick=quick)
