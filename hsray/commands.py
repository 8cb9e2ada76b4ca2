"""What the commands do, and what they print while they do it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hsray.errors import HsrayError, RequestError

if TYPE_CHECKING:
    from hsray.datasets.prepare import NanPolicy
    from hsray.sweep.run import SweepResult
    from hsray.training.config import Task

err = Console(stderr=True)


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=err, transient=True)


def prepare_dataset(
    source: str, raw: Path | None, data: Path, *, name: str | None, nan: NanPolicy, overwrite: bool
) -> None:
    from hsray.datasets.prepare import prepare

    with _bar() as bar:
        task = bar.add_task(f"preparing {source}", total=None)

        def progress(stage: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=f"{Path(source).stem}: {stage}")

        store = prepare(source, raw, data, name=name, nan=nan, overwrite=overwrite, progress=progress)
    for reason in store.source.get("skipped", {}).values():
        err.print(f"[yellow]left out:[/] {escape(reason)}")
    print(f"prepared: {store.path}\nlook at it: hsray inspect {store.name} --data {data}")


def inspect_dataset(dataset: str, data: Path, picture: Path | None) -> None:
    from hsray.datasets import open_store
    from hsray.datasets.inspect import describe
    from hsray.datasets.inspect import picture as draw

    store = open_store(dataset, data)
    found = describe(store)
    console = Console()
    low, high = found["wavelengths_nm"]
    console.print(f"[bold]{escape(found['name'])}[/]  {found['bands']} bands, {low:g}–{high:g} nm  ({store.path})")
    console.print(f"fingerprint {found['fingerprint']}", style="dim")
    table = Table(box=None, title_justify="left")
    for column in ("id", "class", *found["splits"]):
        table.add_column(column, justify="left" if column == "class" else "right")
    table.add_row("", "images", *(str(split["images"]) for split in found["splits"].values()), style="bold")
    for info in found["classes"]:
        swatch = f"[rgb({','.join(map(str, info['rgb']))})]■[/] {escape(info['name'])}"
        shares = [_share(info, split) for split in found["splits"]]
        table.add_row(str(info["id"]), swatch + ("" if info["scored"] else " [dim](not scored)[/]"), *shares)
    console.print(table)
    for one in found["left_out"]:
        console.print(f"left out: {escape(one['name'])}: {escape(one['reason'])}", style="yellow")
    if picture is not None:
        draw(store, picture)
        console.print(f"picture: {picture}")


def _share(info: dict[str, Any], split: str) -> str:
    return f"{100 * info['share'][split]:.2f} %" if info["scored"] else f"{info['pixels'][split]} px"


def pretrain_encoder(recipe: Path, data: Path, out: Path) -> None:
    from hsray.strategies.pretraining import load_recipe, pretrain

    with _bar() as bar:
        task = bar.add_task("pretraining", total=None)

        def progress(step: int, total: int, loss: float) -> None:
            bar.update(task, completed=step, total=total, description=f"loss {loss:.5f}")

        written = pretrain(load_recipe(recipe), data, out, progress)
    print(f"weights: {written}")


def train_once(
    dataset: str, strategy: str, out: Path, data: Path, task: Task, fraction: str, seed: int, settings: list[str]
) -> None:
    from hsray.experiment import parse_setting
    from hsray.scores import METRICS
    from hsray.single import train
    from hsray.training import SCORE

    def report(epoch: int, metrics: dict[str, float]) -> None:
        err.print(
            f"epoch {epoch + 1:4d}  loss {metrics['train/loss']:.4f}  validation: loss {metrics['val/loss']:.4f}  "
            f"Jaccard {100 * metrics[SCORE]:.2f} %",
            highlight=False,
        )

    share = fraction if fraction.startswith("official:") else parse_setting(f"fraction={fraction}")[1]
    values = dict(map(parse_setting, settings))
    if own := sorted({"task", "fraction", "seed", "test", "out", "data_root", "report"} & set(values)):
        raise RequestError(f"{', '.join(own)} is no hyperparameter", where="--set", do="use the option of that name")
    result = train(
        dataset, strategy, out=out, task=task, fraction=share, seed=seed, data_root=data, report=report, **values
    )
    for name in METRICS:
        print(f"test {name:15s} {100 * result['metrics'][f'test/{name}']:6.2f} %")


def print_plan(experiment: Path, data: Path, runs: Path, *, smoke: bool) -> None:
    from hsray.experiment import load_experiment
    from hsray.sweep.cells import cells
    from hsray.sweep.jobs import ended_runs

    loaded = load_experiment(experiment, smoke=smoke)
    found = cells(loaded, data.resolve(), str(experiment))
    table = Table(box=None)
    for column in ("cell", "searched", "trials ended", "finals ended"):
        table.add_column(column, justify="left" if column in ("cell", "searched") else "right")
    for cell in found:
        trials, finals = ended_runs(runs / loaded.name / "cells" / cell.id)
        planned = loaded.budget.trials if cell.space else 1
        seeds = 0 if cell.searches_fraction else loaded.final.seeds
        table.add_row(
            "  ".join(map(str, cell.axes.values())), ", ".join(cell.space), f"{trials}/{planned}", f"{finals}/{seeds}"
        )
    Console().print(table)
    print(f"{len(found)} cells, at most {loaded.budget.epochs} epochs a run")


def run_sweep(experiment: Path, data: Path, runs: Path, uri: str, *, smoke: bool) -> None:
    from hsray.experiment import load_experiment

    loaded = load_experiment(experiment, smoke=smoke)
    # Ray and torch take seconds to import: only once the file is known to be right.
    from hsray.leaderboard import print_table
    from hsray.sweep.live import LiveView
    from hsray.sweep.run import sweep

    result = sweep(loaded, data_root=data, runs_root=runs, tracking_uri=uri, where=str(experiment), view=LiveView(err))
    finish(result, uri, lambda: print_table(loaded.name, uri, "table"))


def finish(result: SweepResult, uri: str, show: Callable[[], None]) -> None:
    """Say what failed, show the table, say where the runs are. Raises HsrayError where MLflow has not got them all."""
    from hsray.tracking.client import redacted

    for cell, reasons in result.failures.items():
        err.print(f"[yellow]failed in {escape(cell)}:[/]")
        for reason in reasons:
            err.print(f"  {escape(reason)}", highlight=False)
    if result.undelivered:
        raise HsrayError(
            f"{result.undelivered} records are not in MLflow yet: {result.trouble or 'it did not answer in time'}",
            where=redacted(uri),
            do="run the same command again when it answers; nothing is trained twice",
        )
    show()
    served = uri.startswith(("http://", "https://"))
    print(f"\nsee the runs:  {redacted(uri) if served else f'mlflow ui --backend-store-uri {redacted(uri)}'}")
