"""What runs will take, from runs that ended: those of the same cell, else those of its strategy on its dataset.

A run's time is taken as proportional to its work: pixels (spectral task: spectra) that pass through the model, three
times in training, forth and back, and once in validation. Without past runs there is no figure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from hsray.datasets import CubeStore, training_subset
from hsray.datasets.samples import Schedule
from hsray.runlog import read_json
from hsray.sweep.cells import Cell
from hsray.training import Training

READ = 50  # runs of a cell's folder, at most
BACK_AND_FORTH = 3


@dataclass(frozen=True)
class Expected:
    """Seconds on one device: of a trial, of a final. From how many runs, and whose."""

    trial: float
    final: float
    runs: int
    source: str


@dataclass
class _Past:
    seconds: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.seconds)


class PastRuns:
    """The ended runs under a folder of sweeps, read when they are asked for."""

    def __init__(self, runs_root: Path) -> None:
        self._folders: dict[tuple[str, str], list[Path]] = {}
        for folder in runs_root.glob("*/cells/*"):
            named = re.match(r"dataset=([^,]*),strategy=([^,@]*)", folder.name)
            if named:
                self._folders.setdefault((named[1], named[2]), []).append(folder)

    def expected(self, cell: Cell) -> Expected | None:
        """None where no run of this strategy on this dataset has ended by its own doing."""
        named = re.match(r"dataset=([^,]*),strategy=([^,@]*)", cell.id)
        alike = self._folders.get((named[1], named[2]), []) if named else []
        own = [folder for folder in alike if re.sub(r"~\d+$", "", folder.name) == re.sub(r"~\d+$", "", cell.id)]
        return _expected(cell, own, "this cell", scaled=False) or _expected(
            cell, alike, "the same strategy and dataset", scaled=True
        )


def _expected(cell: Cell, folders: list[Path], source: str, *, scaled: bool) -> Expected | None:
    past = {"trial": _Past(), "COMPLETE": _Past(), "final": _Past()}
    for kind, state, training, metrics in (run for folder in folders for run in _ended(folder)):
        work = _work(cell, training, round(metrics["labelled_images"])) if scaled else 1.0
        for name in (kind, state) if kind == "trial" else (kind,):
            if name in past and work:
                past[name].seconds.append(metrics["cost/device_seconds"])
                past[name].work.append(work)
    config = cell.config({}, seed=0)
    work = _work(cell, config.training, len(training_subset(cell.store, config.fraction, 0))) if scaled else 1.0
    # A final trains to its end, as a trial does that no bracket stopped.
    finals = past["final"] if past["final"].seconds else past["COMPLETE"]
    trials = past["trial"] if past["trial"].seconds else past["final"]
    if not trials.seconds or not finals.seconds:
        return None
    trial, final = (sum(kind.seconds) / sum(kind.work) * work for kind in (trials, finals))
    return Expected(trial, final, len(past["trial"]) + len(past["final"]), source)


def _ended(folder: Path) -> Iterator[tuple[str, str, Training, dict[str, float]]]:
    """Kind, state, training and metrics of the runs of a cell's folder that did not fail."""
    for path in sorted(folder.glob("*/result.json"), reverse=True)[:READ]:
        try:
            result: Any = read_json(path)
            spec: Any = read_json(path.parent / "spec.json")
            training = Training(**spec["config"]["training"])
            if result["state"] != "FAILED" and {"labelled_images", "cost/device_seconds"} <= result["metrics"].keys():
                yield spec["kind"], result["state"], training, result["metrics"]
        except (ValueError, KeyError, TypeError, ValidationError):  # of another version, or broken: `doctor` names it
            continue


def _work(cell: Cell, training: Training, images: int) -> float:
    """Pixels through the model if every epoch is trained; `images` of the training split are used."""
    a_sample, samples = sample_count(cell.task, cell.store, training, images)
    schedule = Schedule(samples, training.batch, training.min_updates, 0)
    validated = int(cell.store.statistics("val").counts_N.sum())
    return training.epochs * (BACK_AND_FORTH * schedule.passes * samples * a_sample + validated)


def sample_count(task: str, store: CubeStore, training: Training, images: int) -> tuple[float, int]:
    """Pixels of a training sample, and samples of one pass over so many images: the mean over the training split."""
    statistics = store.statistics("train")
    if task == "spectral":
        scored_NK = np.delete(statistics.class_pixels_NK, store.ignore_id, axis=1)
        labelled_N = scored_NK.sum(axis=1)
        return 1.0, max(1, round(np.minimum(labelled_N, training.pixels_per_image or labelled_N).mean() * images))
    sides_N2 = np.minimum(statistics.shapes_N2, training.crop) if training.crop else statistics.shapes_N2
    return float(sides_N2.prod(axis=1).mean()), max(1, images * training.crops_per_image)
