"""One run at a time, and a driver killed before every single thing that it writes: the end is the same to the bit."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.sweep.instants import Clock, Killed, drive, one_cell, table, tuned
from tests.tiny import tiny_store

BUDGET = {"trials": 5, "epochs": 3, "grace": 1, "factor": 2, "patience": None}
# TPE with a condition and a bracket; two cells in turn; two objectives without a bracket.
SWEEPS: dict[str, tuple[dict[str, Any], int]] = {
    "one cell": ({}, 3),
    "two cells": ({"axes": {"dataset": ["tiny"], "strategy": ["mlp"], "fraction": [0.5, 1.0]}, "budget": BUDGET}, 2),
    "searched fraction": (
        {
            "axes": {"dataset": ["tiny"], "strategy": ["mlp"]},
            "search": {"fraction": {"choice": [0.34, 1.0]}, "lr": {"log": [1e-4, 1e-1]}},
            "budget": BUDGET,
        },
        2,
    ),
}


@pytest.mark.parametrize("name", SWEEPS)
def test_every_instant(name: str, tmp_path: Path) -> None:
    parts, stride = SWEEPS[name]
    tiny_store(tmp_path)
    experiment, clock = tuned(**parts), Clock()
    found, folder = one_cell(tmp_path, experiment), tmp_path / "sweep"
    folder.mkdir()
    undisturbed = table(drive(found, experiment, folder, clock), folder)
    differing = []
    for instant in range(0, clock.now, stride):
        shutil.rmtree(folder)
        folder.mkdir()
        with pytest.raises(Killed):
            drive(found, experiment, folder, Clock(dies_at=instant))
        if table(drive(found, experiment, folder, Clock()), folder) != undisturbed:
            differing.append(instant)
    assert differing == []


def test_every_step_of_a_worker(tmp_path: Path) -> None:
    """It is started again by the same driver, from its last checkpoint."""
    tiny_store(tmp_path)
    experiment, clock = tuned(), Clock()
    found, folder = one_cell(tmp_path, experiment), tmp_path / "sweep"
    folder.mkdir()
    undisturbed = table(drive(found, experiment, folder, clock), folder)
    differing = []
    for step in range(clock.steps):
        shutil.rmtree(folder)
        folder.mkdir()
        if table(drive(found, experiment, folder, Clock(worker_dies_at=step)), folder) != undisturbed:
            differing.append(step)
    assert differing == []
