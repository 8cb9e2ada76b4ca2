"""A sweep from its experiment file to its last final. The same command again goes on where it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from hsray.datasets.check import image_problems
from hsray.errors import HsrayError, problems
from hsray.experiment import Experiment
from hsray.runlog import write_atomically, write_json
from hsray.storage import Home, home
from hsray.strategies.weights import weights_sha256
from hsray.sweep.cells import Cell, cells
from hsray.sweep.cluster.cluster import Slots, cluster
from hsray.sweep.cluster.metrics import export_sweep
from hsray.sweep.control.caps import PATIENCE_S as CAPS_PATIENCE_S
from hsray.sweep.control.caps import CapsWatch, watched
from hsray.sweep.control.closing import left_open, stopped
from hsray.sweep.control.lock import only_driver
from hsray.sweep.control.stopper import Stopper
from hsray.sweep.control.stopping import clear_stop
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.drive import drive
from hsray.sweep.features import prepare_features
from hsray.sweep.jobs import Job
from hsray.sweep.ledger.identity import FILE as ID_FILE
from hsray.sweep.ledger.identity import known_id, sweep_id
from hsray.sweep.live import LiveView
from hsray.sweep.preflight.disk import wanted_features
from hsray.sweep.preflight.memory import Memories
from hsray.sweep.preflight.preflight import preflight
from hsray.sweep.redo import Attempts
from hsray.sweep.upkeep.status import CELLS, cells_told
from hsray.tracking import Owner, Tracker, manifest


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
    runs_root: Path | str,
    tracking_uri: str,
    where: str = "experiment",
    view: LiveView | None = None,
    signals: bool = False,
) -> SweepResult:
    """Run what is missing of a sweep: trials, finals, records.

    `runs_root` is a folder that all nodes see, or the address of a store (`s3://bucket/prefix`). With `signals` this
    process belongs to the sweep: Ctrl-C or SIGTERM once ends it cleanly, twice at once.

    Raises:
        RequestError: what can be checked beforehand is wrong: the file, the data, the weights, MLflow, the resources;
            or another process runs this sweep.
        HsrayError: the sweep was stopped, a cap is reached, or it could not go on.
    """
    data_root = data_root.resolve()
    memories = Memories(activations=False)
    found = cells(experiment, data_root, where, memories)
    if unreadable := image_problems(cell.store for cell in found):
        raise problems(unreadable, f"{where} cannot be run")
    tracker = Tracker(tracking_uri, experiment.name)
    tracker.check()
    view = view or LiveView(quiet=True)
    with home(runs_root, experiment.name, view.tell) as place, _alone(place, tracker):
        folder = place.folder
        clear_stop(folder)  # of a driver that was killed while it stopped
        tracker.borrowed = place.borrowed
        found = Attempts.read(folder).applied(found)
        with Stopper(folder, view.say, signals=signals) as stopper:
            work = _Work(experiment, found, memories, place, data_root / ".features", tracker, view, stopper)
            try:
                work.do()
            except BaseException:
                # A library that is interrupted may answer with any error, Ray's handler while it starts with an exit.
                if stopper.reason is None:
                    raise
            by_cap_at_the_end = stopper.signum is None and work.dispatcher and not work.dispatcher.left
            if stopper.reason is not None and not by_cap_at_the_end:
                raise stopped(stopper, work.dispatcher, folder, work.undelivered, stored=place.ticket is not None)
            assert work.dispatcher is not None
            if work.dispatcher.left:
                raise left_open(work.dispatcher, folder)
            failures = {cell: state.failures for cell, state in work.dispatcher.cells.items() if state.failures}
            return SweepResult(experiment.name, folder, len(found), failures, work.undelivered, work.trouble)


@contextmanager
def _alone(place: Home, tracker: Tracker) -> Iterator[None]:
    """Nobody else runs this sweep, in this folder or, under the same name in MLflow, in another."""
    tracker.refuse_others(Owner(known_id(place.folder), place.at))
    with only_driver(place.folder, tracker.experiment):
        yield


class _Work:
    """What a sweep does once it is alone in its folder."""

    def __init__(
        self,
        experiment: Experiment,
        cells: list[Cell],
        memories: Memories,
        place: Home,
        cache: Path,
        tracker: Tracker,
        view: LiveView,
        stopper: Stopper,
    ) -> None:
        self.experiment, self.cells, self.memories, self.cache = experiment, cells, memories, cache
        self.place, self.folder = place, place.folder
        self.tracker, self.view, self.stopper = tracker, view, stopper
        self.dispatcher: Dispatcher | None = None
        self.undelivered = 0
        self.trouble: str | None = None

    def do(self) -> None:
        """Features, trials, finals, records."""
        caps = CapsWatch(self.experiment.caps, self.folder, list(wanted_features(self.cells, self.cache)), self._live)
        if (reached := caps.reached()) is not None:
            raise HsrayError(f"{reached}: nothing was started", where=str(self.folder), do="raise the cap")
        with self.view, cluster(self.experiment.resources) as slots:
            self.stopper.take_over()
            local = self.place.ticket is None
            preflight(self.experiment, self.cells, self.memories, self.folder, self.cache, slots, local=local)
            write_json(self.folder / CELLS, cells_told(self.experiment, self.cells, self.folder))
            write_atomically(self.folder / "experiment.yaml", _as_yaml(self.experiment))
            write_json(self.folder / "manifest.json", manifest() | _hashes(self.cells))
            owner = Owner(sweep_id(self.folder), self.place.at)
            self.place.keep(self.folder / ID_FILE)  # a driver elsewhere must not take itself for another sweep's
            self.tracker.reconcile(self.folder, owner)
            try:
                with watched(caps, lambda reason: self.stopper.stop(reason, CAPS_PATIENCE_S)):
                    self._run(slots)
                self.view.say("writing the last records to MLflow")
                self.undelivered = self.tracker.flush(self.stopper.flush_s(60))
                self.trouble = self.tracker.problem or next(iter(self.tracker.refused.values()), None)
            finally:
                self.undelivered = self.tracker.close(self.stopper.flush_s(5) if self.stopper.signum else None)

    def _run(self, slots: Slots) -> None:
        prepare_features(self.cells, self.cache, self.view)
        tracker = self.tracker
        self.dispatcher = Dispatcher(
            self.experiment, self.cells, self.folder, self.cache, tracker.note, tracker.supersede, self.view.tell,
            self.place.discard,
        )  # fmt: skip
        if goes_on := self.dispatcher.goes_on:
            self.view.tell(goes_on)
        self.view.watch(self.dispatcher, slots.count)
        with export_sweep(self.dispatcher), self.stopper.patient():
            drive(self.dispatcher, self.experiment.resources, slots, self.folder, home=self.place)

    def _live(self) -> list[Job]:
        return list(self.dispatcher.live.values()) if self.dispatcher else []


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
