"""The demo: Indian Pines, three ways of transfer, one table and one picture."""

from __future__ import annotations

from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console

from hsray.commands.data import prepare_dataset
from hsray.commands.sweeps import finish
from hsray.experiment import Experiment, load_experiment

DATASET = "indian-pines"


def run_demo(data: Path, runs: Path, uri: str, picture: Path, *, quick: bool, report: bool) -> None:
    """Prepare the scene, sweep `experiments/demo.yaml`, print the table, draw the picture, write the report."""
    console = Console(stderr=True)
    if not (data / DATASET).is_dir():
        prepare_dataset(DATASET, None, data, name=None, nan="refuse", overwrite=False)
    with as_file(files("hsray").joinpath("demo.yaml")) as path:
        experiment = load_experiment(path)
    if quick:
        experiment = reduced(experiment)
        console.print("[yellow]quick: a reduced budget that shows that all works; its figures mean nothing[/]")
    from hsray.leaderboard import figure, print_table
    from hsray.sweep.live import LiveView
    from hsray.sweep.run import sweep

    view = LiveView(console)
    result = sweep(experiment, data_root=data, runs_root=runs, tracking_uri=uri, where="demo", view=view, signals=True)

    def show() -> None:
        print_table(experiment.name, uri, "table")
        figure(experiment.name, uri, picture)
        print(f"\npicture:       {picture}")

    finish(result, uri, show, report=report)


def reduced(experiment: Experiment) -> Experiment:
    """The same cells with next to no budget, under a name of its own."""
    content = experiment.model_dump(by_alias=True)
    content["name"] += "-quick"
    content["budget"] |= {"trials": 2, "epochs": 2, "grace": 1}
    content["final"] = {"seeds": 3}
    return Experiment.model_validate(content)
