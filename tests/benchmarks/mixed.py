"""Ten trials with one worker and five with two on two cores: in one sweep, and each kind in a sweep of its own."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import ray

from hsray.experiment import parse_experiment
from hsray.sweep.cells import cells
from hsray.sweep.cluster.cluster import cluster
from hsray.sweep.cluster.localray import start_local_ray
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.drive import drive
from tests.benchmarks.report import Measurement
from tests.tiny import tiny_store

GOAL = 1.5


def mixed(folder: Path, trials: int) -> list[Measurement]:
    """Wall seconds of `2 × trials` runs with one worker and `trials` with two, apart and together."""
    tiny_store(folder / "data")
    start_local_ray(num_cpus=2, include_dashboard=True, logging_level="error", log_to_driver=False)
    try:
        # fc has two cells, mlp one.
        one = _seconds(folder, "one", ["fc"], trials)
        two = _seconds(folder, "two", ["mlp"], trials)
        both = _seconds(folder, "both", ["fc", "mlp"], trials)
    finally:
        ray.shutdown()
    return [
        Measurement(f"{2 * trials} trials with one worker", one, "s"),
        Measurement(f"{trials} trials with two workers", two, "s"),
        Measurement("both kinds in one sweep", both, "s", None, f"{one + two:.1f} s apart"),
        Measurement("together against apart", both / (one + two), "×", GOAL, "two cores"),
    ]


def _seconds(folder: Path, name: str, strategies: list[str], trials: int) -> float:
    content: dict[str, Any] = {
        "name": name, "task": "spectral", "search": {"lr": {"log": [1e-4, 1e-1]}},
        "axes": {"dataset": ["tiny"], "strategy": strategies, "fraction": [0.5, 1.0]},
        "without": [{"strategy": "mlp", "fraction": 0.5}] if "mlp" in strategies else [],
        "fixed": {"batch": 64, "min_updates": 200}, "final": {"seeds": 0},
        "budget": {"trials": trials, "epochs": 5, "halving": False},
        "resources": {"workers": {"strategy": {"fc": 1, "mlp": 2}}},
    }  # fmt: skip
    experiment = parse_experiment(content)
    runs = folder / name
    runs.mkdir()
    started = time.perf_counter()
    with cluster(experiment.resources) as slots:
        dispatcher = Dispatcher(experiment, cells(experiment, folder / "data"), runs, folder / "cache")
        drive(dispatcher, experiment.resources, slots, runs)
    seconds = time.perf_counter() - started
    if dispatcher.left or any(state.failures for state in dispatcher.cells.values()):
        raise RuntimeError(f"{dispatcher.left} runs of {name} have not ended")
    return seconds
