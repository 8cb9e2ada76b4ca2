"""What plan and sweep do and print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hsray.commands.console import err
from hsray.errors import HsrayError

if TYPE_CHECKING:
    from hsray.sweep.run import SweepResult


def print_plan(experiment: Path, data: Path, runs: Path, *, smoke: bool) -> None:
    from hsray.experiment import load_experiment
    from hsray.sweep.cells import cells
    from hsray.sweep.jobs import contaminated, ended_runs

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
    for strategy, dataset, seen in sorted({(c.strategy.name, c.store.name, contaminated(c)) for c in found}):
        if seen:
            err.print(f"[yellow]contaminated:[/] the encoder of {escape(strategy)} has seen {escape(dataset)} ({seen})")


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
