"""What a trial under Ray Train costs: two workers on CPUs with gloo, and next to nothing to train."""

from __future__ import annotations

from pathlib import Path
from statistics import mean

from hsray.experiment import Resources
from hsray.sweep.cluster.cluster import cluster
from tests.benchmarks.report import Measurement
from tests.benchmarks.sweeps import drive_sweep


def distributed(folder: Path, trials: int) -> list[Measurement]:
    """Seconds a trial. The loop is the real one, with one update an epoch on a small perceptron."""
    resources = Resources(workers=2, gpus=0)
    with cluster(resources) as slots:
        driven = drive_sweep(folder, trials, [1.0], resources, slots)
    loop = mean(result["ended"] - result["started"] for result in driven.results)
    own = driven.wall / trials - loop
    note = f"{trials} trials, {slots.count} at a time, first report after {driven.first_report:.1f} s"
    note += f"; wall time less {loop:.2f} s in the loop"
    return [Measurement("overhead a trial, Ray Train with two workers", own, "s", None, note)]
