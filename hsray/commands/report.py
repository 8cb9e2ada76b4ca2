"""What the command report does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from hsray.commands.console import err
from hsray.errors import RequestError
from hsray.leaderboard.mirror import Mirror, sync
from hsray.report import collect, page
from hsray.report.logged import NAME, NOT_LOGGED
from hsray.runlog import write_atomically

PATIENCE_S = 900


def write_report(experiment: str, uri: str, mirror: Path, out: Path, *, synced: bool, overwrite: bool) -> None:
    """Write the report of an experiment, after bringing its mirror up to date where that is wanted.

    Raises:
        RequestError: the file is there already, MLflow does not answer, or there is no such experiment.
    """
    if out.exists() and not overwrite:
        raise RequestError("this file is there already", where=str(out), do="give another --out, or --overwrite")
    if not out.parent.is_dir():
        raise RequestError("there is no such folder", where=str(out.parent), do="make it, or give another --out")
    if synced:
        for note in sync(mirror, uri, [experiment]).notes:
            err.print(note, highlight=False, markup=False)
    content = page(collect(experiment, Mirror(mirror, offline=not synced, uri=uri), uri)).encode()
    write_atomically(out, content)
    print(f"report:        {out}  ({len(content) / 1e6:.1f} MB)")


def keep_report(experiment: str, folder: Path, uri: str) -> None:
    """At a sweep's end: `report.html` in its folder and in MLflow. What goes wrong is said and fails nothing."""
    command = [sys.executable, "-m", "hsray.report", experiment, str(folder)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri}  # not on the command line: it may hold a password
    err.print("writing the report", highlight=False)
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False, errors="replace"
        )
    except subprocess.TimeoutExpired:
        _no_report(experiment, f"it took more than {PATIENCE_S // 60} minutes")
        return
    said = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    if done.returncode not in (0, NOT_LOGGED):
        _no_report(experiment, said)
        return
    if done.returncode == NOT_LOGGED:
        err.print(f"the report is not in MLflow: {said}", highlight=False, markup=False)
    print(f"report:        {folder / NAME}")


def _no_report(experiment: str, reason: str) -> None:
    err.print(f"no report was written: {reason}", highlight=False, markup=False)
    err.print(f"  do:    hsray report {experiment}", highlight=False, markup=False)
