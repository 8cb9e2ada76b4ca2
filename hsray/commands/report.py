"""What the command report does."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

from hsray.commands.console import err
from hsray.errors import RequestError
from hsray.leaderboard.mirror import Mirror, sync
from hsray.report import collect, page
from hsray.report.logged import NAME
from hsray.runlog import write_atomically
from hsray.tracking.client import redacted

PATIENCE_S = 900


def write_report(experiment: str, uri: str, mirror: Path, out: Path, *, synced: bool, overwrite: bool) -> None:
    """Write the report of an experiment, after bringing its mirror up to date where that is wanted.

    Raises:
        RequestError: the file is there already, MLflow does not answer, or there is no such experiment.
    """
    if out.is_dir():
        raise RequestError("a report is one file, and this is a folder", where=str(out), do=f"--out {out / NAME}")
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
    # -P: nothing in the working directory is taken for a module.
    command = [sys.executable, "-P", "-m", "hsray.report", experiment, str(folder)]
    environment = os.environ | {"MLFLOW_TRACKING_URI": uri}  # not on the command line: it may hold a password
    err.print("writing the report", highlight=False)
    path, fault = folder / NAME, None
    before = _version(path)
    try:
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False, errors="replace"
        )
        if done.returncode:
            fault = (done.stderr.strip().splitlines() or [f"its process ended with {done.returncode}"])[-1]
    except subprocess.TimeoutExpired:
        fault = f"it took more than {PATIENCE_S // 60} minutes"
    except OSError as error:
        fault = f"its process could not be started: {error}"
    if _version(path) == before:
        again = f"hsray report {experiment} --tracking-uri {shlex.quote(redacted(uri))} --out {shlex.quote(str(path))}"
        err.print(f"no report was written: {fault}", highlight=False, markup=False)
        err.print(f"  do:    {again} --overwrite", highlight=False, markup=False, soft_wrap=True)
        return
    if fault:
        err.print(f"the report is written, but not in MLflow: {fault}", highlight=False, markup=False)
    print(f"report:        {path}")


def _version(path: Path) -> tuple[int, int] | None:
    """What changes when the file is replaced."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns
