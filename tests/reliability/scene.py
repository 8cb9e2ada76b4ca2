"""A tiny real sweep in a folder of its own, run by the command line, with all its processes within reach."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from tests.sweep.sweeps import write_experiment
from tests.tiny import tiny_store

NAME, CELLS, TRIALS, SEEDS, EPOCHS = "chaos", 2, 3, 2, 16
EXPERIMENT: dict[str, Any] = {
    "name": NAME,
    "axes": {"dataset": ["tiny"], "strategy": ["mlp", "fc"]},
    "search": {"lr": {"log": [1e-4, 1e-2]}},
    "fixed": {"batch": 64, "min_updates": 100},
    "budget": {"trials": TRIALS, "epochs": EPOCHS, "patience": None, "grace": 4, "factor": 2},
    "final": {"seeds": SEEDS},
}
# What a run gets. With one run at a time the whole table follows from the experiment, to the last digit.
SHAPES: dict[str, dict[str, Any]] = {
    "one": {"concurrent": 1},
    "two": {"concurrent": 2},
    "workers": {"workers": 2, "concurrent": 1},
    "nodes": {},  # as many as fit into the cluster
}
DETERMINISTIC = ("one", "workers")
ELSEWHERE = ("MLFLOW_TRACKING_URI", "HSRAY_DATA", "HSRAY_LEDGER", "RAY_ADDRESS")


class Command:
    """`hsray sweep …` under way, in a process group of its own, as a terminal would start it."""

    def __init__(self, folder: Path, number: int, arguments: list[str], environment: dict[str, str]) -> None:
        self.output, self.errors = folder / f"command-{number}.out", folder / f"command-{number}.err"
        kept = {name: value for name, value in os.environ.items() if name not in ELSEWHERE}
        with self.output.open("w") as output, self.errors.open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "hsray.cli", *arguments],
                cwd=folder,
                env=kept | {"PYTHONWARNINGS": "ignore"} | environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                start_new_session=True,
            )
        self.family: set[psutil.Process] = set()
        self.look()

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    @property
    def said(self) -> str:
        return self.output.read_text() + self.errors.read_text()

    def look(self) -> list[psutil.Process]:
        """The processes that it has started, and theirs; they are remembered, so that none outlives the scene."""
        if not self.running:
            return []
        try:
            found = psutil.Process(self.process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []
        self.family.update(found)
        return found

    def titled(self, *titles: str) -> list[psutil.Process]:
        """Those of its processes whose title holds one of these words."""
        return [process for process in self.look() if any(word in title(process) for word in titles)]

    def signal(self, number: signal.Signals, *, group: bool = False) -> None:
        """To the driver, or to its whole process group as a terminal does on Ctrl-C."""
        self.look()
        if self.running:
            (os.killpg if group else os.kill)(self.process.pid, number)

    def wait(self, timeout: float) -> int | None:
        """Its exit code; None where it still runs after so many seconds."""
        end = time.monotonic() + timeout
        while time.monotonic() < end:
            try:
                return self.process.wait(1)
            except subprocess.TimeoutExpired:
                self.look()
        return None

    def survivors(self, patience: float, *, agents: bool = True) -> list[psutil.Process]:
        """Processes of its family that are still there after so many seconds, with or without Ray's agents.

        Those look for a dead head for a minute before they end.
        """

        def there(one: psutil.Process) -> bool:
            return _alive(one) and (agents or "Agent" not in title(one))

        end = time.monotonic() + patience
        while (left := [one for one in self.family if there(one)]) and time.monotonic() < end:
            time.sleep(0.1)
        return left

    def end(self) -> None:
        """Kill what is left of it."""
        self.signal(signal.SIGKILL)
        self.process.wait()
        for process in self.survivors(0):
            process.kill()


def _alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline()[:1])
    except psutil.Error:
        return ""


@dataclass
class Scene:
    """The folder of a sweep and the commands run there, one after the other. `shape` is a key of SHAPES."""

    folder: Path
    shape: str = "one"
    uri: str = ""
    checkpoint_seconds: float = 0.3  # runs of a second or two have several checkpoints
    environment: dict[str, str] = field(default_factory=dict)
    commands: list[Command] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        if not (self.folder / "data").exists():
            tiny_store(self.folder / "data", noise=0.6)  # hard enough that scores differ
        write_experiment(self.folder, **EXPERIMENT, resources=SHAPES[self.shape])
        self.runs.mkdir(exist_ok=True)
        self.uri = self.uri or f"sqlite:///{self.store}"

    @property
    def runs(self) -> Path:
        return self.folder / "runs"

    @property
    def sweep(self) -> Path:
        return self.runs / NAME

    @property
    def store(self) -> Path:
        """MLflow's database, ours or the server's."""
        return self.folder / "mlflow.db"

    @property
    def settings(self) -> dict[str, str]:
        """What drivers and nodes find in their environment."""
        return {
            "HSRAY_CHECKPOINT_SECONDS": str(self.checkpoint_seconds),
            "OMP_NUM_THREADS": "1",
            "RAY_memory_monitor_refresh_ms": "0",  # memory that others take is no fault of ours to draw
        }

    @property
    def deterministic(self) -> bool:
        return self.shape in DETERMINISTIC

    def start(self) -> Command:
        """The sweep's command, which is always the same."""
        arguments = ["sweep", "experiment.yaml", "--data", "data", "--runs", "runs", "--tracking-uri", self.uri]
        command = Command(self.folder, len(self.commands) + 1, arguments, self.settings | self.environment)
        self.commands.append(command)
        return command

    def results(self) -> list[Path]:
        return sorted(self.sweep.glob("cells/*/*/result.json"))

    def close(self, patience: float = 0) -> list[str]:
        """End everything; say which processes outlive their command by so many seconds."""
        left = [process for command in self.commands if not command.running for process in command.survivors(patience)]
        named = [f"{process.pid} {title(process)}" for process in left]
        for command in self.commands:
            command.end()
        return named
