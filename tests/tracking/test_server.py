"""Against a real `mlflow server`, which is killed in the middle."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from hsray.tracking import Tracker
from tests.tracking.folders import FakeRun
from tests.tracking.stores import Server, artifacts, history, runs_of


@pytest.fixture
def server(uri: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, uri)
    server.start()
    yield server
    server.kill()


def test_nothing_is_lost_when_the_server_is_killed(
    server: Server, sweep_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    tracker = Tracker(server.uri, "demo")
    tracker.check()
    trials = [FakeRun(sweep_dir, number=number).start().epochs(0, 4) for number in range(12)]
    for trial in trials:
        tracker.note(trial.folder)
    for number, trial in enumerate(trials):
        tracker.note(trial.epochs(4, 8).end().folder)
        time.sleep(0.1)
        if number == 6:
            server.kill()  # with deliveries under way
    final = FakeRun(sweep_dir, "final", 0).start().epochs(0, 3).end_final(np.random.default_rng(0))
    tracker.note(final.folder)
    assert tracker.flush(1) > 0
    assert tracker.problem is not None
    server.start()
    assert tracker.flush(60) == 0
    assert tracker.problem is None
    assert tracker.close() == 0
    runs = runs_of(server.uri)
    keys = Counter(run.data.tags["hsray.key"] for run in runs)
    assert keys == Counter([trial.key for trial in trials] + [final.key])
    assert {run.info.status for run in runs} == {"FINISHED"}
    for run in runs:
        steps = [step for step, _ in history(server.uri, run, "val/loss")]
        assert steps == list(range(3 if run.data.tags["hsray.kind"] == "final" else 8))
    [of_final] = [run for run in runs if run.data.tags["hsray.kind"] == "final"]
    assert {"confusion.npz", "best.safetensors", "manifest.json"} <= artifacts(server.uri, of_final)
    shown = capfd.readouterr()
    assert shown.out == shown.err == ""  # nothing across a live display
