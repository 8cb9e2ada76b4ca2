"""A sweep from its experiment file to its last final. The same command again goes on where it was."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import yaml
from filelock import FileLock, Timeout
from hsray.errors import HsrayError, RequestError
from hsray.experiment import Experiment, Resources
from hsray.strategies.features import ensure_features, features_folder, is_cacheable
from hsray.sweep.cells import Cell, cells
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.execution import MACHINE_RETRIES, run_distributed, run_in_actor
from hsray.sweep.live import LiveView
from hsray.sweep.tune_adapters import CellScheduler, JobSearcher, resources_json
from hsray.tracking import Tracker, manifest
from hsray.training.runlog import write_atomically, write_json
from ray import tune

DRIVER_CPU = 0.01  # what the trial that starts a Ray Train job takes beside its workers


@dataclass(frozen=True)
class SweepResult:
    """What a sweep did: ended runs in all, those the machine failed, and records that MLflow has not got yet."""

    experiment: str
    folder: Path
    cells: int
    failures: dict[str, list[str]]
    lost: int
    undelivered: int


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
        with view, _ray(experiment.resources) as slots:
            write_atomically(folder / "experiment.yaml", _as_yaml(experiment))
            write_json(folder / "manifest.json", manifest() | {"data": _hashes(found)})
            tracker.reconcile(folder)
            cache = data_root / ".features"
            _features(found, cache, view)
            dispatcher = Dispatcher(experiment, found, folder, cache, tracker.note)
            view.watch(dispatcher, slots.count)
            _tune(dispatcher, experiment.resources, slots, folder)
            view.say("writing the last records to MLflow")
            tracker.supersede(dispatcher.current_finals())
            undelivered = tracker.flush(60)
    finally:
        tracker.close()
        lock.release()
    failures = {cell: state.failures for cell, state in dispatcher.cells.items() if state.failures}
    if dispatcher.live:
        raise HsrayError(
            f"the sweep was interrupted with {len(dispatcher.live)} runs under way",
            where=str(folder),
            do="run the same command again: it goes on from here",
        )
    return SweepResult(experiment.name, folder, len(found), failures, len(dispatcher.lost), undelivered)


@dataclass(frozen=True)
class Slots:
    """How many runs fit at a time, and what each worker of a run gets."""

    count: int
    cpu: float
    gpu: float


@contextmanager
def _ray(resources: Resources) -> Iterator[Slots]:
    """A local Ray, or the cluster of RAY_ADDRESS, for the time of the sweep."""
    # Tune writes nothing we read again; its loggers and its own reports would only cost time.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    own = not ray.is_initialized()
    if own:
        # Ray Train's clean-up after a stopped trial asks the dashboard's State API.
        options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        if "RAY_ADDRESS" not in os.environ:
            options["include_dashboard"] = resources.workers > 1
        ray.init(**options)
    try:
        yield slots(resources, ray.cluster_resources())
    finally:
        if own:
            ray.shutdown()


def slots(resources: Resources, cluster: dict[str, float]) -> Slots:
    """How many runs fit into a cluster's resources.

    Raises:
        RequestError: not even one fits; with the arithmetic.
    """
    gpu = (1.0 if cluster.get("GPU") else 0.0) if resources.gpus == "auto" else float(resources.gpus)
    cpu, workers = resources.cpus, resources.workers
    driver = DRIVER_CPU if workers > 1 else 0.0
    need = {"CPU": cpu * workers + driver, "GPU": gpu * workers}
    if workers > 1 and need["CPU"] > cluster.get("CPU", 0) >= cpu * workers:
        # The driver's hundredth of a core must not cost a whole worker.
        cpu = (cluster["CPU"] - driver) / workers
        need["CPU"] = cluster["CPU"]
    fits = [int((cluster.get(kind, 0) + 1e-6) // amount) for kind, amount in need.items() if amount > 0]
    count = min(fits)
    if count < 1:
        text = ", ".join(f"{amount:g} {kind} of {cluster.get(kind, 0):g}" for kind, amount in need.items() if amount)
        raise RequestError(
            f"one run needs {text}: {workers} workers × ({cpu:g} CPU, {gpu:g} GPU) + {driver:g} CPU",
            where="resources",
            do="lower resources.workers, cpus or gpus, or give Ray more",
        )
    return Slots(min(count, resources.concurrent or count), cpu, gpu)


def _tune(dispatcher: Dispatcher, resources: Resources, slots: Slots, folder: Path) -> None:
    # Tune's own files are of no use afterwards; on a cluster they must be where all nodes can reach them.
    storage = Path(tempfile.mkdtemp(prefix=".tune-", dir=folder))
    extra: dict[str, Any] = {}
    trainable: Any = tune.with_resources(run_in_actor, {"cpu": slots.cpu, "gpu": slots.gpu})
    if resources.workers > 1:
        extra = {"resources": resources_json(resources.workers, slots.cpu, slots.gpu), "storage": str(storage)}
        trainable = tune.with_resources(run_distributed, {"cpu": DRIVER_CPU})
    searcher = JobSearcher(dispatcher, slots.count, extra)
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher, scheduler=CellScheduler(searcher), num_samples=-1, reuse_actors=True
            ),
            run_config=tune.RunConfig(
                storage_path=str(storage), verbose=0, failure_config=tune.FailureConfig(max_failures=MACHINE_RETRIES)
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)


def _features(found: list[Cell], cache: Path, view: LiveView) -> None:
    """Compute the features of frozen encoders once, before the trials that share them, where the devices are."""
    wanted = {}
    for cell in found:
        for recipe in _recipes(cell):
            if is_cacheable(recipe):
                wanted[features_folder(cell.store, recipe, cache)] = (cell, recipe)
    for path, (cell, recipe) in wanted.items():
        if not path.is_dir():
            view.say(f"features of {cell.store.name} under {recipe.name}, computed once")
            gpus = 1 if ray.cluster_resources().get("GPU") else 0
            cpus = 1 if gpus else max(node["Resources"].get("CPU", 0) for node in ray.nodes())
            task = ray.remote(num_gpus=gpus, num_cpus=cpus)(ensure_features)
            ray.get(task.remote(cell.store, recipe, cache))


def _recipes(cell: Cell) -> list[Any]:
    adapters = cell.space["adapter"].choice or [] if "adapter" in cell.space else []
    return [cell.strategy.with_values({**cell.values, "adapter": kind}) for kind in adapters] or [
        cell.strategy.with_values(cell.values)
    ]


def _hashes(found: list[Cell]) -> dict[str, str]:
    return {cell.store.name: cell.store.fingerprint for cell in found}


def _as_yaml(experiment: Experiment) -> bytes:
    return yaml.safe_dump(
        experiment.model_dump(mode="json", by_alias=True, exclude_unset=True), sort_keys=False
    ).encode()
