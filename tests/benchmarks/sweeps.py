"""A sweep over small cells, driven as `hsray sweep` drives it, with the clock running."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsray.experiment import Resources, parse_experiment
from hsray.sweep.cells import cells
from hsray.sweep.cluster.cluster import Slots
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.drive import drive
from hsray.sweep.trainables import in_actor
from hsray.tracking import Tracker
from tests.benchmarks.bare import EPOCHS
from tests.tiny import tiny_store


@dataclass(frozen=True)
class Driven:
    """Wall time until the last record was delivered, until the first report, after the last trial; the results."""

    wall: float
    first_report: float
    flush: float
    results: list[dict[str, Any]]


def drive_sweep(
    folder: Path,
    trials: int,
    fractions: list[float],
    resources: Resources,
    slots: Slots,
    run_one: Callable[[dict[str, Any]], None] = in_actor,
) -> Driven:
    """Run `trials` trials, one cell a fraction, with ledger, run folders and MLflow on sqlite; no finals."""
    tiny_store(folder / "data")
    found = parse_experiment(
        {
            "name": "overhead", "task": "spectral", "search": {"lr": {"log": [1e-4, 1e-1]}},
            "axes": {"dataset": ["tiny"], "strategy": ["mlp"], "fraction": fractions},
            "fixed": {"batch": 65536}, "final": {"seeds": 0},
            "budget": {"trials": trials // len(fractions), "epochs": EPOCHS, "halving": False},
            "resources": resources.model_dump(),
        }
    )  # fmt: skip
    tracker = Tracker(f"sqlite:///{folder}/mlflow.db", found.name)
    tracker.check()
    runs = folder / "runs"
    runs.mkdir()
    dispatcher = Dispatcher(found, cells(found, folder / "data"), runs, folder / "cache", tracker.note)
    begun, started = time.time(), time.perf_counter()
    drive(dispatcher, resources, slots, runs, run_one)
    driven = time.perf_counter()
    undelivered = tracker.flush(120)
    ended = time.perf_counter()
    tracker.close()
    results = [json.loads(path.read_text()) for path in runs.rglob("result.json")]
    if undelivered or len(results) != trials or any(result["state"] != "COMPLETE" for result in results):
        raise RuntimeError(f"{len(results)} of {trials} trials ended, {undelivered} are not in MLflow: {results[:1]}")
    first = min(json.loads(path.open().readline())["time"] for path in runs.rglob("epochs.jsonl"))
    return Driven(ended - started, first - begun, ended - driven, results)
