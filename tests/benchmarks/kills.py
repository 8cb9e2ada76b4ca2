"""1,000 trials of an empty loop, undisturbed and with the driver killed every 100 ended trials: what a kill costs.

`python -m tests.benchmarks.kills`
"""

from __future__ import annotations

import argparse
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from unittest.mock import patch

from tests.benchmarks.bare import EPOCHS
from tests.benchmarks.empty import run_empty
from tests.benchmarks.report import Measurement, show
from tests.tiny import tiny_store

NAME, FRACTIONS = "kills", [0.25, 0.5, 0.75, 1.0]
GOAL_S = 20.0  # a kill
LOOK_S = 0.1


def drive_once(folder: Path, trials: int) -> None:
    """What one command does, with nothing to train; on and on from what is in the folder."""
    from hsray.experiment import parse_experiment
    from hsray.sweep import run

    experiment = parse_experiment(
        {
            "name": NAME, "task": "spectral", "search": {"lr": {"log": [1e-4, 1e-1]}},
            "axes": {"dataset": ["tiny"], "strategy": ["mlp"], "fraction": FRACTIONS},
            "fixed": {"batch": 65536}, "final": {"seeds": 0},
            "budget": {"trials": trials // len(FRACTIONS), "epochs": EPOCHS, "halving": False},
        }
    )  # fmt: skip
    with patch.object(run, "drive", partial(run.drive, run_one=run_empty)):
        result = run.sweep(
            experiment,
            data_root=folder / "data",
            runs_root=folder / "runs",
            tracking_uri=f"sqlite:///{folder}/mlflow.db",
        )
    if result.failures or result.undelivered:
        raise RuntimeError(f"{result.undelivered} records are not in MLflow; {result.failures}")


def timed(folder: Path, trials: int, kill_every: int | None) -> tuple[float, int]:
    """Wall time in seconds until a command ends by itself, and how many were killed before."""
    tiny_store(folder / "data")
    started, kills = time.perf_counter(), 0
    while True:
        command = [sys.executable, "-m", "tests.benchmarks.kills", "--drive", str(folder), "--trials", str(trials)]
        process = subprocess.Popen(command, start_new_session=True)
        at = (kills + 1) * kill_every if kill_every else trials
        while process.poll() is None and (at >= trials or _ended(folder) < at):
            time.sleep(LOOK_S)
        if process.poll() is None and at < trials:
            os.kill(process.pid, signal.SIGKILL)
            process.wait()
            kills += 1
            continue
        if process.wait() != 0:
            raise RuntimeError(f"the driver failed with exit code {process.returncode}")
        took = time.perf_counter() - started
        _check(folder, trials)
        return took, kills


def _ended(folder: Path) -> int:
    return sum(1 for _ in (folder / "runs").glob("*/cells/*/*/result.json"))


def _check(folder: Path, trials: int) -> None:
    """Nothing is lost, nothing twice."""
    with sqlite3.connect(folder / "mlflow.db") as store:
        [runs] = store.execute(
            "select count(*), count(distinct t.value), sum(r.status = 'FINISHED') from runs r "
            "join tags t on t.run_uuid = r.run_uuid where t.key = 'hsray.key'"
        ).fetchall()
    with sqlite3.connect(folder / "runs" / NAME / "ledger.db") as ledger:
        states = dict(ledger.execute("select state, count(*) from trials group by 1"))
    if _ended(folder) != trials or runs != (trials,) * 3 or states != {"COMPLETE": trials}:
        raise RuntimeError(f"{_ended(folder)} results, MLflow {runs}, ledger {states}: {trials} were planned")


def main() -> int:
    """Both sweeps and the figures side by side; exit 1 if a kill costs more than its goal."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.kills")
    parser.add_argument("--trials", type=int, default=1000)
    parser.add_argument("--every", type=int, default=100, help="kill the driver whenever so many more have ended")
    parser.add_argument("--drive", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.drive:
        drive_once(arguments.drive, arguments.trials)
        return 0
    load, trials = os.getloadavg()[0], arguments.trials
    with tempfile.TemporaryDirectory(prefix="hsray-kills-") as scratch:
        for name in ("calm", "killed"):
            (Path(scratch) / name).mkdir()
        calm, _ = timed(Path(scratch) / "calm", trials, None)
        killed, kills = timed(Path(scratch) / "killed", trials, arguments.every)
    a_kill = Measurement("a kill costs", (killed - calm) / max(kills, 1), "s", GOAL_S)
    rows = [
        Measurement(f"{trials} trials, undisturbed", calm, "s"),
        Measurement(f"{trials} trials, driver killed every {arguments.every}", killed, "s", None, f"{kills} kills"),
        a_kill,
    ]
    show(rows, f"empty loop; load {load:.1f} before, {os.getloadavg()[0]:.1f} after")
    return 0 if a_kill.met else 1


if __name__ == "__main__":
    sys.exit(main())
