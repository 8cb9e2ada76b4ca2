"""Where a sweep stands, as Prometheus metrics that Ray exports on every node (`ray_hsray_…`).

Ray forgets a gauge that is not set again within two of its intervals (10 s each), so both sides set theirs every few
seconds from a thread. The labels are the sweep, the cell and a state or kind of device: never a trial.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import fmean

import torch
from ray.util.metrics import Gauge

from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.jobs import Job

EVERY_S = 4.0
SPEED = "cost/samples_per_second"
BY_STATE = ("sweep", "cell", "state")
BY_CELL = ("sweep", "cell")


@contextmanager
def export_sweep(dispatcher: Dispatcher) -> Iterator[None]:
    """Tell Ray every few seconds where the cells stand, for the time of the sweep."""
    view = _SweepGauges(dispatcher)
    with _every_few_seconds(view.set, "hsray-metrics"):
        yield


@contextmanager
def export_run(job: Job) -> Iterator[Callable[[dict[str, float]], None]]:
    """In the process that trains: tell Ray of speed and memory. Yields what takes the metrics of every epoch."""
    labels = {"sweep": job.folder.parents[2].name, "cell": job.cell}
    speed = Gauge("hsray_samples_per_second", "Training samples a second, by run", BY_CELL)
    memory = Gauge("hsray_device_memory_bytes", "Memory that a run's process holds, bytes", (*BY_CELL, "device"))
    last: dict[str, float] = {}

    def tell() -> None:
        if SPEED in last:
            speed.set(last[SPEED], labels)
        kind, held = device_memory()
        memory.set(held, {**labels, "device": kind})

    with _every_few_seconds(tell, "hsray-run-metrics"):
        yield last.update


def device_memory() -> tuple[str, int]:
    """`cuda` and the bytes its allocator holds, summed over devices; without a device, `cpu` and the resident bytes."""
    if torch.cuda.is_available():
        return "cuda", sum(torch.cuda.memory_reserved(device) for device in range(torch.cuda.device_count()))
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
    return "cpu", pages * os.sysconf("SC_PAGE_SIZE")


class _SweepGauges:
    def __init__(self, dispatcher: Dispatcher) -> None:
        self.dispatcher, self.sweep = dispatcher, dispatcher.experiment.name
        # Ended by earlier commands; the dispatcher counts what ends under this one.
        self.before = {name: state.study.counts() for name, state in dispatcher.cells.items()}
        self.trials = Gauge("hsray_trials", "Trials by state", BY_STATE)
        self.finals = Gauge("hsray_finals", "Finals by state", BY_STATE)
        self.best = Gauge("hsray_best_score", "Best validation Jaccard of a cell, from 0 to 1", BY_CELL)
        self.seconds = Gauge("hsray_run_seconds", "Mean seconds of the runs that ended under this command", BY_CELL)
        self.running = Gauge("hsray_runs", "Runs now under way", ("sweep",))

    def set(self) -> None:
        live = Counter((job.cell, job.kind) for job in list(self.dispatcher.live.values()))
        self.running.set(sum(live.values()), {"sweep": self.sweep})
        for name, state in list(self.dispatcher.cells.items()):
            labels = {"sweep": self.sweep, "cell": name}
            running = live[name, "trial"]
            failed = self.before[name].get("FAIL", 0) + sum(f.startswith("trial") for f in list(state.failures))
            stopped = self.before[name].get("PRUNED", 0) + state.stopped
            ended = state.trials_ended
            self._states(self.trials, labels, {
                "complete": ended - failed - stopped, "stopped": stopped, "failed": failed, "running": running,
                "waiting": state.study.planned - ended - running,
            })  # fmt: skip
            running = live[name, "final"]
            self._states(self.finals, labels, {
                "ended": state.finals_done, "running": running,
                "waiting": state.finals_planned - state.finals_done - running,
            })  # fmt: skip
            if state.best is not None:
                self.best.set(state.best, labels)
            if seconds := list(state.seconds):
                self.seconds.set(fmean(seconds), labels)

    @staticmethod
    def _states(gauge: Gauge, labels: dict[str, str], counts: dict[str, int]) -> None:
        for state, count in counts.items():
            gauge.set(max(count, 0), {**labels, "state": state})  # a run may end between two of these readings


@contextmanager
def _every_few_seconds(tell: Callable[[], None], name: str) -> Iterator[None]:
    ended = threading.Event()

    def work() -> None:
        tell()
        while not ended.wait(EVERY_S):
            tell()

    thread = threading.Thread(target=work, name=name, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
