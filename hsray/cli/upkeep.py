"""Commands that look after sweeps: status, dashboard, doctor."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsray.cli.app import app
from hsray.cli.options import (
    DATA,
    MIRROR,
    RUNS,
    TABLE,
    URI,
    Data,
    MirrorFolder,
    Runs,
    RunsOrStore,
    ShortFormat,
    Smoke,
    Uri,
)


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
def dashboard(
    mirror: MirrorFolder = MIRROR,
    runs: Runs = RUNS,
    data: Data = DATA,
    tracking_uri: Uri = URI,
    host: Annotated[str, typer.Option(help="Address to listen on; another than loopback is open to others.")] = (
        "127.0.0.1"
    ),
    port: Annotated[int | None, typer.Option(min=0, max=65535, help="Else the first free one from 8501 on.")] = None,
    ray: Annotated[
        str, typer.Option("--ray", envvar="RAY_API_SERVER_ADDRESS", help="Ray's dashboard, to link to.")
    ] = "",
    open_: Annotated[bool, typer.Option("--open/--no-open", help="Open it in the browser of this machine.")] = True,
) -> None:
    """Show sweeps as they run, the leaderboard, comparisons and predictions in the browser. Read only.

    Sign-in (OpenID Connect) is set up in `.streamlit/secrets.toml`, section `[auth]`, as Streamlit has it.

    Examples: `hsray dashboard` · `hsray dashboard --tracking-uri http://mlflow:5000 --runs /shared/runs --no-open`
    """
    from hsray.commands.dashboard import serve
    from hsray.dashboards.settings import Settings

    settings = Settings(str(mirror), str(runs), str(data), tracking_uri, ray)
    serve(settings, host, port, open_browser=open_)


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
