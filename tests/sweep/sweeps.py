"""Small real sweeps for tests: an experiment on simulated spectra, run by the command line in a process of its own."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

from tests.tiny import tiny_store

TINY: dict[str, Any] = {
    "name": "tiny-sweep",
    "task": "spectral",
    "axes": {"dataset": ["tiny"], "strategy": ["mlp", "fc"], "fraction": [0.5, 1.0]},
    "search": {"lr": {"log": [1e-3, 1e-1]}},
    "fixed": {"batch": 64},
    "budget": {"trials": 3, "epochs": 4, "patience": None, "grace": 1},
    "final": {"seeds": 2},
}


def write_experiment(folder: Path, **parts: Any) -> Path:
    """`experiment.yaml` in a folder that also gets the data, unless they are there."""
    if not (folder / "data" / "tiny").is_dir():
        tiny_store(folder / "data")
    path = folder / "experiment.yaml"
    path.write_text(yaml.safe_dump({**TINY, **parts}, sort_keys=False))
    return path


def start(folder: Path, *arguments: str, **popen: Any) -> subprocess.Popen[str]:
    """`hsray …` in `folder`, with everything it makes left there."""
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "HSRAY_DATA", "RAY_ADDRESS")}
    command = [sys.executable, "-m", "hsray.cli", *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=folder, env=kept | {"PYTHONWARNINGS": "ignore"}, **(pipes | popen))


def hsray(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run to the end."""
    process = start(folder, *arguments)
    out, err = process.communicate(timeout=300)
    return subprocess.CompletedProcess(arguments, process.returncode, out, err)


def mlflow_runs(folder: Path) -> list[dict[str, str]]:
    """Key, status and kind of every run of the store but the report's, read directly."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        rows = store.execute(
            "select r.run_uuid, r.status, t.key, t.value from runs r join tags t on t.run_uuid = r.run_uuid "
            "where r.lifecycle_stage = 'active' and t.key like 'hsray.%'"
        ).fetchall()
    found: dict[str, dict[str, str]] = {}
    for run, status, tag, value in rows:
        found.setdefault(run, {"status": status})[tag.removeprefix("hsray.")] = value
    return [run for run in found.values() if run.get("kind") != "report"]


def epochs_in_mlflow(folder: Path) -> dict[str, int]:
    """Number of distinct epochs of the training loss by run key."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        rows = store.execute(
            "select t.value, count(distinct m.step) from metrics m join tags t on t.run_uuid = m.run_uuid "
            "where t.key = 'hsray.key' and m.key = 'train/loss' group by 1"
        ).fetchall()
    return dict(rows)


def ledger_states(folder: Path, name: str = "tiny-sweep") -> list[str]:
    """State of every trial in the ledger."""
    with sqlite3.connect(folder / "runs" / name / "ledger.db") as store:
        return [state for (state,) in store.execute("select state from trials")]
