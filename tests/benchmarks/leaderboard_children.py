"""What the leaderboard's benchmark measures runs in processes of its own: cold, and with a peak of memory each.

`python -m tests.benchmarks.leaderboard_children search_runs|sync URI [MIRROR]` prints the seconds of that one call.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Ended:
    """`seconds` of the whole process, by the clock and, `processor`, of computing; `peak` resident bytes.

    `called`: the seconds of the call that it measured inside itself, `told`: what it says of it.
    """

    seconds: float
    processor: float
    peak: int
    output: str

    @property
    def called(self) -> float:
        return float(self.output.split()[0])

    @property
    def told(self) -> str:
        return self.output.strip().partition(" ")[2]


def run(*command: str) -> Ended:
    """Run a command to its end; it must succeed.

    The peak is the kernel's for the process, which starts at our own: keep this process small.
    """
    environment = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true"}
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        started = time.perf_counter()
        process = subprocess.Popen(command, stdout=output, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        process.returncode = os.waitstatus_to_exitcode(status)
        for file in (output, errors):
            file.seek(0)
        if process.returncode:
            raise SystemExit(f"{' '.join(command)} ended with {process.returncode}:\n{errors.read()}")
        return Ended(seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, output.read())


def call(name: str, uri: str, mirror: Path | None = None) -> Ended:
    """One of the calls below in a process of its own."""
    own = (sys.executable, "-m", "tests.benchmarks.leaderboard_children", name, uri)
    return run(*own, *([] if mirror is None else [str(mirror)]))


def search_runs(uri: str) -> str:
    """All runs of the store as MLflow's own pandas table."""
    import mlflow

    from tests.benchmarks.mlflowstore import EXPERIMENT

    mlflow.set_tracking_uri(uri)
    started = time.perf_counter()
    frame = mlflow.search_runs(experiment_names=[EXPERIMENT], max_results=10_000_000)
    return f"{time.perf_counter() - started} {len(frame):,} runs"


def sync(uri: str, mirror: str) -> str:
    """One sync, first or incremental."""
    from hsray.leaderboard.mirror import sync as mirror_sync

    started = time.perf_counter()
    done = mirror_sync(Path(mirror), uri)
    return f"{time.perf_counter() - started} {done.read:,} runs, {done.way}"


if __name__ == "__main__":
    calls: dict[str, Callable[..., str]] = {"search_runs": search_runs, "sync": sync}
    print(calls[sys.argv[1]](*sys.argv[2:]))
