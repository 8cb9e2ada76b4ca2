"""What sweep and redo do and print."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from hsray.commands.console import err
from hsray.errors import HsrayError, RequestError

if TYPE_CHECKING:
    from hsray.sweep.run import SweepResult


def run_sweep(experiment: Path, data: Path, runs: str, uri: str, *, smoke: bool, report: bool = True) -> None:
    from hsray.experiment import load_experiment

    loaded = load_experiment(experiment, smoke=smoke)
    # Ray and torch take seconds to import: only once the file is known to be right.
    from hsray.leaderboard import print_table
    from hsray.sweep.live import LiveView
    from hsray.sweep.run import sweep

    result = sweep(
        loaded, data_root=data, runs_root=runs, tracking_uri=uri, where=str(experiment), view=LiveView(err),
        signals=True,
    )  # fmt: skip
    finish(result, uri, lambda: print_table(loaded.name, uri, "table"), report=report)


def redo_runs(
    experiment: Path, words: list[str], data: Path, runs: str, seeds: list[int], *, all_finals: bool, smoke: bool
) -> None:
    """Note what is to be repeated, and say what the next sweep will do."""
    from hsray.experiment import load_experiment
    from hsray.storage import home
    from hsray.sweep.cells import cells
    from hsray.sweep.control.lock import only_driver
    from hsray.sweep.redo import Attempts, final_seeds, named_cell, redo_cell, redo_finals

    loaded = load_experiment(experiment, smoke=smoke)
    found = cells(loaded, data.resolve(), str(experiment))
    with home(runs, loaded.name, lambda line: err.print(line, highlight=False)) as place:
        folder = place.folder
        if not (folder / "cells").is_dir():
            raise RequestError("this sweep has not run yet", where=str(folder), do="nothing is there to be repeated")
        with only_driver(folder, loaded.name):
            cell = named_cell(Attempts.read(folder).applied(found), words, str(experiment))
            if seeds or all_finals:
                asked = redo_finals(folder, cell, seeds or final_seeds(cell, folder))
                does = f"trains the final of seed {', '.join(map(str, asked))} again"
            else:
                redo_cell(folder, cell)
                does = "tunes this cell anew and trains its finals"
    err.print(f"{'  '.join(map(str, cell.axes.values()))}: the next `hsray sweep` {does}", highlight=False)
    err.print("What was there stays where it is; MLflow marks it superseded then, and no table counts it.")


def finish(result: SweepResult, uri: str, show: Callable[[], None], *, report: bool) -> None:
    """Say what failed, show the table, write the report, say where the runs are.

    Raises:
        HsrayError: MLflow has not got all of them.
    """
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
    if report:
        from hsray.commands.report import keep_report

        keep_report(result.experiment, result.folder, uri)
    served = uri.startswith(("http://", "https://"))
    print(f"\nsee the runs:  {redacted(uri) if served else f'mlflow ui --backend-store-uri {redacted(uri)}'}")
