"""`hsray sweep` on a cluster of raylets: its folder, what runs where, and whether all is well in the end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from hsray.runlog import read_epochs
from tests.reliability.raylets import Raylet, Raylets
from tests.sweep.sweeps import epochs_in_mlflow, ledger_states, mlflow_runs, write_experiment

SETTINGS = {"HSRAY_CHECKPOINT_SECONDS": "0.2", "OMP_NUM_THREADS": "1"}  # the runs' processes have them from their node


class Sweep:
    """An experiment on tiny data in a folder that all nodes see, and the command that runs it."""

    def __init__(self, folder: Path, cluster: Raylets | None = None, **parts: Any) -> None:
        self.folder, self.cluster = folder, cluster
        common: dict[str, Any] = {
            "axes": {"dataset": ["tiny"], "strategy": ["mlp"]},
            "fixed": {"batch": 64, "min_updates": 300},
            "budget": {"trials": 4, "epochs": 10, "patience": None, "halving": False},
            "final": {"seeds": 1},
        }
        self.parts = common | parts
        self.experiment = write_experiment(folder, **self.parts)
        self.command: subprocess.Popen[bytes] | None = None

    @property
    def runs(self) -> Path:
        return self.folder / "runs" / "tiny-sweep"

    def start(self) -> subprocess.Popen[bytes]:
        """The same command each time."""
        env = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "HSRAY_DATA", "RAY_ADDRESS")}
        env |= SETTINGS | {"PYTHONWARNINGS": "ignore"} | (self.cluster.env if self.cluster else {})
        command = [sys.executable, "-m", "hsray.cli", "sweep", str(self.experiment)]
        with (self.folder / "said.txt").open("ab") as said:
            self.command = subprocess.Popen(
                command, cwd=self.folder, env=env, stdout=said, stderr=said, start_new_session=True
            )
        return self.command

    def wait(self, seconds: float = 500) -> int:
        """Its exit code. Fails the test where it does not end."""
        assert self.command is not None
        try:
            return self.command.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"it hangs; {self.ended()} runs ended:\n{self.said}") from None

    def goes_on(self) -> bool:
        """True; fails the test where the command has ended."""
        assert self.command is not None and self.command.poll() is None, f"it has ended:\n{self.said}"
        return True

    def kill(self) -> None:
        """kill -9 of the driver, and of what is left of a Ray of its own."""
        if self.command is not None and self.command.poll() is None:
            os.killpg(self.command.pid, signal.SIGKILL)
            self.command.wait()

    @property
    def said(self) -> str:
        return (self.folder / "said.txt").read_text()

    def ended(self) -> int:
        """Runs that have left a result."""
        return len(list(self.runs.rglob("result.json")))

    def epochs(self) -> dict[str, int]:
        """Epochs in the logs of all runs."""
        return {path.parent.name: len(read_epochs(path.parent)) for path in self.runs.rglob("epochs.jsonl")}

    def check(self, trials: int, finals: int = 1) -> None:
        """Every run once, closed, with all its epochs; the ledger has no open trial."""
        assert "Traceback" not in self.said, self.said
        assert self.ended() == trials + finals, self.said
        assert sorted(set(ledger_states(self.folder))) in (["COMPLETE"], ["COMPLETE", "PRUNED"])
        assert len(ledger_states(self.folder)) == trials
        runs = mlflow_runs(self.folder)
        assert len(runs) == len({run["key"] for run in runs}) == trials + finals
        assert {run["status"] for run in runs} == {"FINISHED"}
        assert sorted(epochs_in_mlflow(self.folder).values()) == sorted(self.epochs().values())


def until(condition: Callable[[], Any], seconds: float = 400, what: str = "it") -> Any:
    """Wait until it is so, and give what it was. Fails the test where it never is."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"after {seconds:.0f} s {what} has not come"
        time.sleep(0.05)
    return found


def busy(node: Raylet) -> list[psutil.Process]:
    """Processes of a node that hold a trial or a worker of one, not those that wait for work."""
    return [
        one for one in node.workers("ray::") if any(what in title(one) for what in ("ImplicitFunc", "RayTrainWorker"))
    ]


def title(process: psutil.Process) -> str:
    try:
        return process.cmdline()[0] if process.cmdline() else ""
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return ""
