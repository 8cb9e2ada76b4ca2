"""`hsray redo` from the command to the table: old runs stay and are marked, new ones count."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.sweep.sweeps import hsray, mlflow_runs, write_experiment

PARTS: dict[str, Any] = {
    "axes": {"dataset": ["tiny"], "strategy": ["mlp", "fc"]},
    "budget": {"trials": 2, "epochs": 3, "halving": False},
    "final": {"seeds": 2},
}


def swept(folder: Path) -> list[dict[str, str]]:
    done = hsray(folder, "sweep", "experiment.yaml")
    assert done.returncode == 0, done.stderr
    return mlflow_runs(folder)


def counting(runs: list[dict[str, str]]) -> set[str]:
    return {run["key"] for run in runs if run.get("superseded") != "true"}


def table(folder: Path) -> dict[str, tuple[int, int]]:
    """Seeds and complete trials that the table counts, by strategy."""
    rows = json.loads(hsray(folder, "leaderboard", "tiny-sweep", "--format", "json").stdout)["rows"]
    return {row["strategy"]: (row["seeds"], row["trials_complete"]) for row in rows}


def test_a_final_and_then_its_cell_are_repeated(tmp_path: Path) -> None:
    write_experiment(tmp_path, **PARTS)
    first = swept(tmp_path)
    files = {path: path.read_bytes() for path in (tmp_path / "runs").rglob("cells/*/*/result.json")}
    before = table(tmp_path)

    asked = hsray(tmp_path, "redo", "experiment.yaml", "mlp", "--final", "1")
    assert asked.returncode == 0 and "trains the final of seed 1 again" in asked.stderr
    assert mlflow_runs(tmp_path) == first, "nothing happens yet"
    second = swept(tmp_path)
    [new] = {run["key"] for run in second} - {run["key"] for run in first}
    assert counting(second) == {run["key"] for run in first} - {new.removesuffix("~2")} | {new}

    asked = hsray(tmp_path, "redo", "experiment.yaml", "mlp")
    assert asked.returncode == 0 and "tunes this cell anew" in asked.stderr
    third = swept(tmp_path)
    fresh = {run["key"] for run in third} - {run["key"] for run in second}
    assert len(fresh) == 4 and all("~2/" in key for key in fresh)
    assert counting(third) == {key for key in counting(second) if "=mlp@" not in key} | fresh
    assert {run["status"] for run in third} == {"FINISHED"}
    assert {path: path.read_bytes() for path in files} == files
    assert table(tmp_path) == before

    unknown = hsray(tmp_path, "redo", "experiment.yaml", "unet")
    assert unknown.returncode == 2 and "tiny  mlp" in unknown.stderr and "tiny  fc" in unknown.stderr
