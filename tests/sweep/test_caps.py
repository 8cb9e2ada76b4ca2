"""What a sweep has used, and which cap that reaches."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import pytest

from hsray.experiment import Caps
from hsray.runlog import append_epoch, write_json
from hsray.sweep.control.caps import CapsWatch, watched


def run(folder: Path, name: str, *, workers: int = 1, logged: float | None = None, ended: float | None = None) -> Path:
    place = folder / "cells" / "cell" / name
    place.mkdir(parents=True)
    write_json(place / "spec.json", {"workers": workers})
    if logged is not None:
        append_epoch(place, 0, {"cost/seconds": logged})
    if ended is not None:
        write_json(place / "result.json", {"metrics": {"cost/device_seconds": ended}})
    return place


class Live:
    def __init__(self, folder: Path) -> None:
        self.folder = folder


def test_device_hours_are_those_of_ended_open_and_running_runs(tmp_path: Path) -> None:
    run(tmp_path, "trial-0000", ended=3600)
    run(tmp_path, "trial-0001", workers=2, logged=900)  # stopped yesterday: the time since is nobody's
    running = run(tmp_path, "trial-0002", workers=2, logged=10)
    now = time.time()
    watch = CapsWatch(Caps(device_hours=1.6), tmp_path, [], lambda: [])
    assert watch.device_seconds() == pytest.approx(3600 + 2 * 900 + 2 * 10)
    live = CapsWatch(Caps(device_hours=1.6), tmp_path, [], lambda: [Live(running)])  # type: ignore[list-item]
    assert live.device_seconds() == pytest.approx(5420 + 2 * (time.time() - now), abs=2)
    assert live.reached() is None
    write_json(running / "result.json", {"metrics": {"cost/device_seconds": 400}})
    assert live.reached() == "the cap caps.device_hours: 1.6 is reached (1.611)"


def test_disk_is_that_of_the_sweep_and_its_features(tmp_path: Path) -> None:
    (tmp_path / "sweep").mkdir()
    (tmp_path / "features").mkdir()
    for name in ("sweep/last.pt", "features/train.h5"):
        (tmp_path / name).write_bytes(bytes(600_000))
    folders = tmp_path / "sweep", [tmp_path / "features", tmp_path / "not computed yet"]
    assert CapsWatch(Caps(disk_gb=0.0013), *folders, lambda: []).reached() is None
    assert "disk_gb: 0.0011 is reached" in str(CapsWatch(Caps(disk_gb=0.0011), *folders, lambda: []).reached())


def test_reaching_a_cap_is_told_once(tmp_path: Path) -> None:
    told, heard = [], threading.Event()

    def stop(reason: str) -> None:
        told.append(reason)
        heard.set()

    with watched(CapsWatch(Caps(hours=1e-9), tmp_path, [], lambda: []), stop):
        assert heard.wait(5)
    assert len(told) == 1 and "caps.hours" in told[0]
