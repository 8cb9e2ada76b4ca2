"""The ledger's file under a real sweep: held by somebody else, and damaged between two commands."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

from tests.reliability.checks import Expected, check
from tests.reliability.scene import Scene
from tests.reliability.watch import Watch

PATIENCE_S = 600


def until_ended(scene: Scene, runs: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(scene.results()) < runs:
        assert scene.commands[-1].running and time.monotonic() < end, scene.commands[-1].said
        time.sleep(0.05)


def test_a_ledger_that_cannot_be_written_and_then_is_damaged(tmp_path: Path) -> None:
    """Both end in words, and the same command completes the sweep."""
    scene = Scene(tmp_path)
    try:
        with Watch(scene.sweep) as watch:
            first = scene.start()
            until_ended(scene, 2)
            holder = sqlite3.connect(scene.sweep / "ledger.db", isolation_level=None)
            holder.execute("BEGIN IMMEDIATE")
            assert first.wait(PATIENCE_S) == 1, first.said
            assert "the ledger cannot be written: database is locked" in first.said
            assert "Traceback" not in first.said
            holder.close()
            (scene.sweep / "ledger.db").write_bytes(b"SQLite format 3\0" + bytes(5000))
            second = scene.start()
            assert second.wait(PATIENCE_S) == 0, second.said
            assert "the ledger cannot be read" in second.said and "Traceback" not in second.said
            assert "the ledger is rebuilt from the run folders" in second.said
            assert len([path for path in scene.sweep.glob("ledger.db.broken-*") if path.suffix.endswith("Z")]) == 1
            found = check(scene, watch, Expected())
            assert not found.words, found.words
    finally:
        scene.close()
