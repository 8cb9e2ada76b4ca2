"""The mirror beside those who write the store; and the mirror itself writes nothing there."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hsray.errors import RequestError
from hsray.leaderboard.mirror import Mirror, sync
from hsray.leaderboard.runs import SCHEMA, load
from hsray.tracking import Tracker
from tests.reliability.leaderboard.contents import content, fresh, same
from tests.tracking.folders import HERE, FakeRun

TRIALS = 40
SOME = "INSERT INTO tags VALUES ('note', ?, (SELECT run_uuid FROM runs LIMIT 1))"


def digest(store: Path) -> str:
    beside = sorted(store.parent.glob(f"{store.name}*"))
    return hashlib.sha256(b"".join(path.name.encode() + path.read_bytes() for path in beside)).hexdigest()


def as_the_client_reads(folder: Path, experiment: str, uri: str) -> None:
    mine = Mirror(folder, offline=True).runs().filter(pl.col("experiment") == experiment).collect()
    theirs = load(experiment, uri)
    assert_frame_equal(mine.select(list(SCHEMA)).sort("run_id"), theirs.sort("run_id"), check_exact=True)


def journal(store: Path, mode: str) -> None:
    connection = sqlite3.connect(store)
    assert connection.execute(f"PRAGMA journal_mode = {mode}").fetchone() == (mode,)
    connection.close()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_beside_a_tracker(empty: str, tmp_path: Path, mode: str) -> None:
    """Neither waits for the other to end, and afterwards the mirror says what MLflow's client says."""
    journal(Path(empty.removeprefix("sqlite:///")), mode)
    sweep, mirror, generator = tmp_path / "runs" / "demo", tmp_path / "mirror", np.random.default_rng(0)
    sweep.mkdir(parents=True)
    (sweep / "manifest.json").write_text("{}")
    tracker = Tracker(empty, "demo")
    tracker.reconcile(sweep, HERE)
    seen = []
    for number in range(TRIALS):
        run = FakeRun(sweep, number=number).start().epochs(0, 3)
        tracker.note(run.folder)
        run.epochs(3, 5).end("PRUNED" if number % 3 else "COMPLETE")
        tracker.note(run.folder)
        if number % 4 == 3:
            sync(mirror, empty)
            seen.append(len(content(mirror)["runs"]))
    final = FakeRun(sweep, "final", 1).start().epochs(0, 3).end_final(generator)
    tracker.note(final.folder)
    assert tracker.flush(60) == 0 and not tracker.refused
    tracker.close()
    assert seen == sorted(seen) and seen[-1] <= TRIALS
    sync(mirror, empty)
    as_the_client_reads(mirror, "demo", empty)
    same(content(mirror), fresh(tmp_path / "again", empty))


def test_a_transaction_that_is_open(store: Path, uri: str, tmp_path: Path) -> None:
    """What is not committed is not there."""
    expected = fresh(tmp_path / "before", uri)
    writer = sqlite3.connect(store, isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("DELETE FROM runs")
    same(fresh(tmp_path / "during", uri), expected)
    writer.execute("ROLLBACK")
    writer.close()


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_writer_killed_in_a_transaction(store: Path, uri: str, tmp_path: Path, mode: str) -> None:
    """It leaves a journal. The mirror holds the state before, or says why it cannot be read."""
    journal(store, mode)
    expected = fresh(tmp_path / "before", uri)
    script = (
        "import os, signal, sqlite3, sys; c = sqlite3.connect(sys.argv[1], isolation_level=None)\n"
        "c.execute('PRAGMA cache_size = 10'); c.execute('BEGIN IMMEDIATE')\n"
        'c.execute("UPDATE latest_metrics SET value = 0"); c.execute("UPDATE runs SET name = \'wrong\'")\n'
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    done = subprocess.run([sys.executable, "-c", script, str(store)], check=False)
    assert done.returncode == -9
    assert [path for path in tmp_path.glob("mlflow.db-*") if path.stat().st_size], "it left a journal"
    try:
        found = fresh(tmp_path / "after", uri)
    except RequestError as error:
        assert "cannot be read" in str(error) and error.do
    else:
        same(found, expected)


def test_nothing_is_written_to_the_store(store: Path, uri: str, tmp_path: Path) -> None:
    before = digest(store)
    folder = tmp_path / "mirror"
    for full in (False, False, True):
        sync(folder, uri, full=full)
        content(folder)
    assert digest(store) == before


def test_a_store_that_may_only_be_read(store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "there"
    folder.mkdir()
    copy = Path(shutil.copy(store, folder / "mlflow.db"))
    copy.chmod(0o444)
    folder.chmod(0o555)
    try:
        assert len(fresh(tmp_path / "mirror", f"sqlite:///{copy}")["runs"]) == 1000
    finally:
        folder.chmod(0o755)
