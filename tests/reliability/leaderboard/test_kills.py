"""A sync killed at any instant, two at once, and one while others write: the next gives what a fresh mirror holds."""

from __future__ import annotations

import random
import shutil
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hsray.errors import HsrayError
from hsray.leaderboard.mirror import sync
from tests.benchmarks.mlflowstore import add_runs
from tests.reliability.leaderboard.contents import content, fresh, is_equal, same

CHILD = (sys.executable, "-m", "tests.reliability.leaderboard.child")
STEPS_TRIED, TIMES_TRIED = 10, 5


def start(uri: str, folder: Path, dies_at: int = 0) -> subprocess.Popen:
    command = [*CHILD, uri, str(folder), str(dies_at)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def steps(process: subprocess.Popen) -> int:
    """How many steps an undisturbed sync took."""
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return int(output.split()[-1])


def change(store: Path) -> None:
    """New, deleted, renamed and ended runs."""
    add_runs(store, 60)
    with sqlite3.connect(store) as connection:
        some = [row[0] for row in connection.execute("SELECT run_uuid FROM runs ORDER BY start_time LIMIT 30")]
        connection.executemany("UPDATE runs SET lifecycle_stage='deleted' WHERE run_uuid=?", [(id,) for id in some[:9]])
        connection.executemany("UPDATE runs SET name='another' WHERE run_uuid=?", [(id,) for id in some[9:]])
    connection.close()


@pytest.mark.parametrize("first", [True, False], ids=["first", "incremental"])
def test_killed_at_any_instant(store: Path, uri: str, tmp_path: Path, first: bool) -> None:
    before = tmp_path / "before"
    held = None
    if first:
        before.mkdir()
    else:
        held = fresh(before, uri)
        change(store)
    expected = fresh(tmp_path / "expected", uri)
    whole = Path(shutil.copytree(before, tmp_path / "whole"))
    started = time.monotonic()
    total = steps(start(uri, whole))
    lasts = time.monotonic() - started
    same(content(whole), expected)
    assert total > 4
    seed = random.Random(1)
    instants = sorted(seed.sample(range(1, total + 1), min(STEPS_TRIED, total)))
    for number, dies_at in enumerate([*instants, *[0] * TIMES_TRIED]):
        folder = Path(shutil.copytree(before, tmp_path / f"mirror-{number}"))
        process = start(uri, folder, dies_at)
        if not dies_at:
            assert process.stdout is not None and process.stdout.readline() == "syncing\n"
            time.sleep(seed.uniform(0, 0.5 * lasts))
            process.kill()
        process.communicate(timeout=120)
        assert process.returncode == (-9 if dies_at else process.returncode)
        try:
            between = content(folder)
        except HsrayError:
            assert first, "what was there before stays readable"
        else:
            assert is_equal(between, expected) or (held is not None and is_equal(between, held)), "before or after"
        sync(folder, uri)
        same(content(folder), expected)
        left = {path.name for path in (folder / "parts").iterdir()}
        named = (folder / "mirror.json").read_text()
        assert all(name in named for name in left), "what the killed one left is swept away"


def test_two_at_once(store: Path, uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    both = [start(uri, folder), start(uri, folder)]
    assert all(steps(process) for process in both)
    expected = fresh(tmp_path / "expected", uri)
    same(content(folder), expected)
    change(store)
    both = [start(uri, folder), start(uri, folder)]
    assert all(steps(process) for process in both)
    same(content(folder), fresh(tmp_path / "again", uri))


def test_a_reader_while_it_is_synced(store: Path, uri: str, tmp_path: Path) -> None:
    """Every reading is of one state: as many runs as before the sync or as after it."""
    folder = tmp_path / "mirror"
    counts = {len(fresh(folder, uri)["runs"])}
    for _ in range(3):
        add_runs(store, 60)
        counts.add(max(counts) + 60)
        process = start(uri, folder)
        while process.poll() is None:
            found = content(folder)
            assert len(found["runs"]) in counts
            assert set(found["metrics"]["run_id"]) == set(found["runs"]["run_id"]), "values of these very runs"
        assert process.returncode == 0
        process.communicate()
    assert len(content(folder)["runs"]) == max(counts)
