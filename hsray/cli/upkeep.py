"""Commands that look after sweeps: status, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsray.cli.app import app
from hsray.cli.options import DATA, RUNS, TABLE, URI, Data, Runs, RunsOrStore, ShortFormat, Smoke, Uri


@app.command()
def status(
    experiment: Annotated[Path, typer.Argument(help="YAML file of the experiment, or the name of a sweep.")],
    runs: RunsOrStore = str(RUNS),
    smoke: Smoke = False,
    format: ShortFormat = TABLE,
) -> None:
    """Print where a sweep stands: runs done, running, failed and missing by cell. Reads the runs folder alone.

    Examples: `hsray status experiments/demo.yaml` · `hsray status demo --format json`
    """
    from hsray.commands.status import print_status

    print_status(experiment, runs, smoke=smoke, format=format.value)


@app.command()
def doctor(
    fix: Annotated[
        bool, typer.Option("--fix", help="Mend what loses nothing; ask about the rest, on a terminal.")
    ] = False,
    delete: Annotated[
        list[str] | None, typer.Option("--delete", help="Delete (or close) what is called so. May be repeated.")
    ] = None,
    data: Data = DATA,
    runs: Runs = RUNS,
    tracking_uri: Uri = URI,
    format: ShortFormat = TABLE,
) -> None:
    """Print what killed sweeps and preparations left, and mend it. Nothing is deleted without being told.

    Finds orphaned MLflow runs, stale trials, unreadable runs, half-written datasets, dangling features, leftovers.
    Sweeps that run now are left alone. Exit code 1: something is left to do.

    Examples: `hsray doctor` · `hsray doctor --fix` · `hsray doctor --delete hyko2.partial`
    """
    from hsray.commands.doctor import examine

    raise typer.Exit(examine(data, runs, tracking_uri, fix=fix, delete=delete or [], format=format.value))
