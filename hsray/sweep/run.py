"""A sweep from its experiment file to its last final. The same command again goes on where it was."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml
from filelock import FileLock, Timeout

from hsray.errors import HsrayError, RequestError
from hsray.experiment import Experiment
from hsray.runlog import write_atomically, write_json
from hsray.strategies.weights import weights_sha256
from hsray.sweep.cells import Cell, cells
from hsray.sweep.cluster import cluster
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.drive import drive
from hsray.sweep.features import prepare_features
from hsray.sweep.live import LiveView
from hsray.tracking import Tracker, manifest


@dataclass(frozen=True)
class SweepResult:
    """What a sweep did: reasons of failed runs by cell, and how many records MLflow has not got yet, and why."""

    experiment: str
    folder: Path
    cells: int
    failures: dict[str, list[str]]
    undelivered: int
    trouble: str | None


def sweep(
    experiment: Experiment,
    *,
    data_root: Path,
    runs_root: Path,
    tracking_uri: str,
    where: str = "experiment",
    view: LiveView | None = None,
) -> SweepResult:
    """Run what is missing of a sweep: trials, finals, records.

    Raises:
        RequestError: what can be checked beforehand is wrong: the file, the data, the weights, MLflow, the resources.
        HsrayError: the sweep could not go on.
    """
    data_root, folder = data_root.resolve(), (runs_root / experiment.name).resolve()
    found = cells(experiment, data_root, where)
    tracker = Tracker(tracking_uri, experiment.name)
    tracker.check()
    folder.mkdir(parents=True, exist_ok=True)
    lock = FileLock(folder / "driver.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise RequestError(
            f"the sweep '{experiment.name}' is running already",
            where=str(folder),
            do="wait for it, or give this one another name",
        ) from None
    view = view or LiveView(quiet=True)
    try:
        with view, cluster(experiment.resources) as slots:
            write_atomically(folder / "experiment.yaml", _as_yaml(experiment))
            write_json(folder / "manifest.json", manifest() | _hashes(found))
            tracker.reconcile(folder)
            cache = data_root / ".features"
            prepare_features(found, cache, view)
            dispatcher = Dispatcher(experiment, found, folder, cache, tracker.note, tracker.supersede)
            view.watch(dispatcher, slots.count)
            drive(dispatcher, experiment.resources, slots, folder)
            view.say("writing the last records to MLflow")
            undelivered = tracker.flush(60)
            trouble = tracker.problem or next(iter(tracker.refused.values()), None)
    finally:
        tracker.close()
        lock.release()
    failures = {cell: state.failures for cell, state in dispatcher.cells.items() if state.failures}
    if dispatcher.left:
        lost = f", {len(dispatcher.lost)} of them lost with their machine again and again" if dispatcher.lost else ""
        raise HsrayError(
            f"the sweep was interrupted: {dispatcher.left} runs have not ended{lost}",
            where=str(folder),
            do="run the same command again: it goes on from here",
        )
    return SweepResult(experiment.name, folder, len(found), failures, undelivered, trouble)


def _hashes(found: list[Cell]) -> dict[str, dict[str, str]]:
    """What the results rest on: data and splits (the store's fingerprint holds both), and pretrained weights."""
    references = {cell.strategy.encoder.weights for cell in found if cell.strategy.encoder is not None}
    return {
        "data_and_splits": {cell.store.name: cell.store.fingerprint for cell in found},
        "weights": {reference: weights_sha256(reference) for reference in sorted(filter(None, references))},
    }


def _as_yaml(experiment: Experiment) -> bytes:
    return yaml.safe_dump(
        experiment.model_dump(mode="json", by_alias=True, exclude_unset=True), sort_keys=False
    ).encode()
