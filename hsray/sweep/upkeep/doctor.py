"""What is not as it should be in the folders of sweeps and in MLflow. Sweeps that run now are left alone."""

from __future__ import annotations

import re
import shutil
import sqlite3
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from urllib.parse import quote

from hsray.errors import HsrayError, RequestError
from hsray.runlog import read_json
from hsray.sweep.control.lock import Driver, running_driver
from hsray.sweep.ledger.identity import known_id
from hsray.sweep.upkeep.findings import Finding, tree_bytes
from hsray.sweep.upkeep.status import CELLS
from hsray.tracking.orphans import OpenRun, close_run, nothing_there, open_runs
from hsray.tracking.owner import Owner, place_of
from hsray.tracking.runfolder import read_run, run_key

TORN = re.compile(r"\..+\.\d+")  # what a killed process left of a file that it was writing
SCRATCH = (".tune-*", ".preflight-*")


def sweeps_under(runs_root: Path) -> list[Path]:
    """The folders of sweeps."""
    marks = ("cells", "driver.lock", "experiment.yaml")
    folders = sorted(runs_root.iterdir()) if runs_root.is_dir() else []
    return [folder for folder in folders if any((folder / mark).exists() for mark in marks)]


def running_sweeps(runs_root: Path) -> dict[Path, Driver]:
    """Those that somebody runs now."""
    found = {folder: running_driver(folder) for folder in sweeps_under(runs_root)}
    return {folder: driver for folder, driver in found.items() if driver is not None}


def sweep_findings(folder: Path) -> Iterator[Finding]:
    """Leftovers, runs that cannot be read, and trials that were begun, in the folder of a sweep that does not run."""
    for pattern in SCRATCH:
        for path in folder.glob(pattern):
            yield _leftover(folder, path, "leftover", "scratch files of a sweep that was killed")
    for path in folder.glob("ledger.db.broken-*"):
        if not path.name.endswith(("-wal", "-shm")):
            yield Finding(
                "ledger put aside", f"{folder.name}/{path.name}", "could not be read; the one beside it was rebuilt",
                tree_bytes(path), told=partial(_delete, path, *path.parent.glob(f"{path.name}-*")), itself=True,
                sweep=folder,
            )  # fmt: skip
    open_trials: dict[str, set[str]] = {}
    for run in sorted(folder.glob("cells/*/*")):
        names = [path.name for path in run.iterdir()] if run.is_dir() else []
        if run.is_dir() and not names:
            yield _leftover(folder, run, "empty folder", "a run was killed before it began")
            continue
        for name in filter(TORN.fullmatch, names):
            yield _leftover(folder, run / name, "torn file", "a process was killed while it wrote this file")
        if fault := _fault(run):
            yield Finding(
                "unreadable run", str(run.relative_to(folder.parent)), fault, tree_bytes(run),
                told=partial(_delete, run), sweep=folder,
            )  # fmt: skip
        elif run.name.startswith("trial-") and "result.json" not in names:
            open_trials.setdefault(run.parent.name, set()).add(run.name)
    for path in folder.iterdir():
        if TORN.fullmatch(path.name) and path.is_file():
            yield _leftover(folder, path, "torn file", "a process was killed while it wrote this file")
    yield from _stale(folder, open_trials)


def _stale(folder: Path, open_trials: dict[str, set[str]]) -> Iterator[Finding]:
    """Trials that were begun and have not ended, by the folders and by the ledger."""
    try:
        for study, number in _running_in_ledger(folder / "ledger.db"):
            if not (folder / "cells" / study / f"trial-{number:04d}" / "result.json").exists():
                open_trials.setdefault(study, set()).add(f"trial-{number:04d}")
    except sqlite3.DatabaseError as error:
        what = f"cannot be read ({error}): the next `hsray sweep` puts it aside and rebuilds it from the run folders"
        yield Finding("broken ledger", f"{folder.name}/ledger.db", what, itself=True, sweep=folder)
    noted = read_json(folder / CELLS)
    current = set(open_trials) if noted is None else {one["cell"] for one in noted}
    goes_on, stays = (
        "the next `hsray sweep` goes on with them",
        "of cells that are not in the experiment any more: they stay",
    )
    begun = open_trials.keys()
    for cells, what, stay in ((current & begun, goes_on, False), (begun - current, stays, True)):
        if cells:
            count = sum(len(open_trials[cell]) for cell in cells)
            listed = ", ".join(sorted(cells)[:3]) + (", …" if len(cells) > 3 else "")
            what = f"begun and not ended: {count}; {what} ({listed})"
            yield Finding("stale trials", folder.name, what, itself=True, stays=stay, sweep=folder)


def _running_in_ledger(path: Path) -> list[tuple[str, int]]:
    """Study and number; read only. A ledger on a server is not asked: the folders tell enough."""
    if not path.exists():
        return []
    connection = sqlite3.connect(f"file:{quote(str(path.resolve()))}?mode=ro", uri=True, timeout=5)
    try:
        query = "SELECT s.study_name, t.number FROM trials t JOIN studies s USING (study_id) WHERE t.state = 'RUNNING'"
        return connection.execute(query).fetchall()
    finally:
        connection.close()


def orphan_findings(uri: str, runs_root: Path, running: set[str]) -> Iterator[Finding]:
    """Runs that stand RUNNING in MLflow though no driver lives, or though they have no folder."""
    if nothing_there(uri):
        return
    client, found = open_runs(uri)
    elsewhere: dict[str, list[OpenRun]] = {}
    keys: dict[str, set[str]] = {}
    for run in found:
        folder = runs_root / run.experiment
        if run.experiment in running:
            continue
        if not folder.is_dir() or Owner(known_id(folder), place_of(folder)).is_other_than(run.owner):
            elsewhere.setdefault(run.experiment, []).append(run)
            continue
        if run.experiment not in keys:
            keys[run.experiment] = set(_keys(folder))
        what = "its sweep does not run" if run.key in keys[run.experiment] else "it has no folder"
        yield Finding(
            "orphaned run", f"{run.experiment}: {run.name}", f"RUNNING in MLflow, and {what}",
            mend=partial(close_run, client, uri, run), sweep=folder,
        )  # fmt: skip
    for name, runs in elsewhere.items():
        at = f"it may run elsewhere: {runs[0].owner.at}" if runs[0].owner else "it may run elsewhere"
        what = f"{len(runs)} RUNNING in MLflow, and their folder is not here; {at}"
        yield Finding("runs from elsewhere", name, what, told=partial(_close_all, client, uri, runs))


def _close_all(client, uri: str, runs: list[OpenRun]) -> None:
    for run in runs:
        close_run(client, uri, run)


def _keys(folder: Path) -> Iterator[str]:
    for spec in folder.glob("cells/*/*/spec.json"):
        try:
            yield run_key(spec.parent)
        except HsrayError:
            continue  # a finding of its own


def _fault(run: Path) -> str:
    """Why a run's folder cannot be read; empty where it can."""
    try:
        read_run(run)
    except HsrayError as error:
        return error.what
    return ""


def _leftover(sweep: Path, path: Path, kind: str, what: str) -> Finding:
    name = str(path.relative_to(sweep.parent))
    return Finding(kind, name, what, tree_bytes(path), mend=partial(_delete, path), sweep=sweep)


def _delete(*paths: Path) -> None:
    for path in paths:
        try:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        except OSError as error:
            do = "mind its permissions"
            raise RequestError(f"cannot be deleted: {error.strerror}", where=str(path), do=do) from None
