"""`status` and `doctor` beside a real sweep: while it runs, after it was killed, and after it has ended."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

from tests.sweep.sweeps import hsray, ledger_states, mlflow_runs, start, write_experiment

PARTS = {
    "axes": {"dataset": ["tiny"], "strategy": ["mlp", "fc"]},
    "fixed": {"batch": 64, "min_updates": 200},
    "budget": {"trials": 4, "epochs": 30, "patience": None, "halving": False},
    "final": {"seeds": 1},
}


def test_a_sweep_is_looked_after(tmp_path: Path) -> None:
    experiment = str(write_experiment(tmp_path, **PARTS))
    process = start(tmp_path, "sweep", experiment, start_new_session=True)
    end = time.monotonic() + 240
    while len(list((tmp_path / "runs").rglob("epochs.jsonl"))) < 2:
        assert process.poll() is None and time.monotonic() < end, process.communicate()
        time.sleep(0.05)
    told = json.loads(hsray(tmp_path, "status", experiment, "--format", "json").stdout)
    assert told["driver"]["pid"] == process.pid
    assert sum(one["trials"]["running"] + one["trials"]["done"] for one in told["cells"]) >= 2
    alone = hsray(tmp_path, "doctor", "--fix")
    assert alone.returncode == 0 and "tiny-sweep runs now" in alone.stdout, alone.stdout + alone.stderr
    assert process.poll() is None, "it was over before it was killed"

    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    told = json.loads(hsray(tmp_path, "status", experiment, "--format", "json").stdout)
    assert told["driver"] is None and sum(one["trials"]["open"] for one in told["cells"]) >= 1
    assert "RUNNING" in {run["status"] for run in mlflow_runs(tmp_path)} and "RUNNING" in ledger_states(tmp_path)
    found = hsray(tmp_path, "doctor")
    assert found.returncode == 1 and "orphaned run" in found.stdout and "stale trials" in found.stdout, found.stdout
    mended = hsray(tmp_path, "doctor", "--fix")
    assert mended.returncode == 0, mended.stdout
    assert "RUNNING" not in {run["status"] for run in mlflow_runs(tmp_path)}
    assert "RUNNING" in ledger_states(tmp_path), "the next sweep goes on with it"
    assert not list((tmp_path / "runs").rglob(".tune-*"))

    again = hsray(tmp_path, "sweep", experiment)
    assert again.returncode == 0, again.stderr
    assert {run["status"] for run in mlflow_runs(tmp_path)} == {"FINISHED"}
    assert len(ledger_states(tmp_path)) == 8 and len(mlflow_runs(tmp_path)) == 10
    done = hsray(tmp_path, "status", experiment)
    assert "nothing is missing" in done.stdout
    assert "healthy" in hsray(tmp_path, "doctor").stdout
    planned = json.loads(hsray(tmp_path, "plan", experiment, "--format", "json").stdout)
    assert planned["device_hours"] == 0 and planned["cells"][0]["expected"]["runs"] == 5
