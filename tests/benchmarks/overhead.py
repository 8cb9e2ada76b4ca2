"""Orchestration overhead a trial of an empty training loop in the reused Tune actor."""

from __future__ import annotations

import time
from contextlib import ExitStack
from pathlib import Path

from hsray.experiment import Resources
from hsray.sweep import dispatcher
from hsray.sweep.cluster.cluster import cluster
from hsray.sweep.ledger.studies import CellStudy
from hsray.tracking import Tracker
from tests.benchmarks.bare import bare_tune
from tests.benchmarks.empty import run_empty
from tests.benchmarks.report import Measurement
from tests.benchmarks.stopwatch import Stopwatch
from tests.benchmarks.sweeps import drive_sweep

GOAL = 0.15
FOUR_CELLS = [0.25, 0.5, 0.75, 1.0]  # fractions


def overhead(folder: Path, trials: int) -> list[Measurement]:
    """Seconds a trial, where they go, and the same trials in Tune alone on the same Ray."""
    resources, watch = Resources(gpus=0), Stopwatch()
    started = time.perf_counter()
    with cluster(resources) as slots:
        ray_start = time.perf_counter() - started
        bare = bare_tune(trials, slots.count, folder / "tune") / trials
        with ExitStack() as timers:
            timers.enter_context(watch.timed("ledger", CellStudy, "ask", "report", "tell"))
            timers.enter_context(watch.timed("folders", dispatcher, "write_spec"))
            timers.enter_context(watch.timed("mlflow", Tracker, "_deliver_all"))
            driven = drive_sweep(folder, trials, FOUR_CELLS, resources, slots, run_empty)
    own = driven.wall / trials
    steady = (driven.wall - driven.first_report) / trials
    ledger, folders, mlflow = (watch.seconds[part] / trials for part in ("ledger", "folders", "mlflow"))
    loop = sum(result["ended"] - result["started"] for result in driven.results) / trials
    return [
        Measurement("overhead a trial, in the actor", own, "s", GOAL, f"{trials} trials, {slots.count} at a time"),
        Measurement("… after the first report", steady, "s", None, f"first report after {driven.first_report:.1f} s"),
        Measurement("… ledger", ledger, "s", None, "driver: ask, report, tell"),
        Measurement("… run folders", folders, "s", None, "driver: spec.json"),
        Measurement("… MLflow", mlflow, "s", None, f"thread beside Tune; {driven.flush:.1f} s after the last trial"),
        Measurement("… inside the empty loop", loop, "s", None, "actor: three logs, three reports and their answers"),
        Measurement("Tune alone, a trial", bare, "s", None, "same reports, reused actors"),
        Measurement("ours against Tune alone", own / bare, "×"),
        Measurement("start of Ray", ray_start, "s", None, "once a sweep, not in the figures above"),
    ]
