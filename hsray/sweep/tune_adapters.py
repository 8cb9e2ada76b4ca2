"""Thin adapters between Ray Tune and the dispatcher: a searcher that hands out jobs, a scheduler that stops them.

Tune's own bookkeeping starts afresh with every command and is never restored: the ledger is what lasts.
"""

from __future__ import annotations

from functools import partial
from itertools import product
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from hsray.storage import Home
from hsray.sweep.cells import Cell
from hsray.sweep.cluster.cluster import Slots
from hsray.sweep.cluster.memorykills import last_words
from hsray.sweep.cluster.needs import Need
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.jobs import Job

LOSSES = 10  # so often in a row, without an epoch between, may the machines fail a run before it is left open


class _StaysHere:
    """Tune pickles its parts to restore them one day. These hold the ledger open and are never restored."""

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


class JobSearcher(_StaysHere, Searcher):
    """Suggests the dispatcher's next job while the cluster, as it is now, has room; FINISHED when nothing is left."""

    def __init__(self, dispatcher: Dispatcher, slots: Slots, storage: str, home: Home) -> None:
        super().__init__()
        self.dispatcher, self.slots, self.storage, self.home = dispatcher, slots, storage, home
        self.jobs: dict[str, Job] = {}
        self.needs: dict[str, Need] = {}
        self.given_up: set[str] = set()  # trials that Tune ends though the machines may fail them again
        self._kinds = list(slots.kinds)
        self._waits = False  # a run waits for a node that is not there
        self._need_of = {name: slots.need(state.study.cell.resources) for name, state in dispatcher.cells.items()}

    def suggest(self, trial_id: str) -> Any:
        live = list(self.needs.values())
        self._say_what_waits(live)  # also where all slots are taken: it notices what has gone
        # A run that may wait for a node comes after all for which there is room.
        for ahead, need in product((False, True), list(self._kinds)):
            # Where nothing runs there is nothing to wait for but a node: what is asked for makes Ray look for one.
            if live and not self.slots.room(live, need, ahead=ahead):
                continue
            job = self.dispatcher.next_job(partial(self._is_of, need))
            if job is not None:
                # Runs of one kind follow each other, so that they share actors.
                self._kinds.sort(key=lambda kind: kind != need)
                self.jobs[trial_id], self.needs[trial_id] = job, need
                self.home.hand_out(job.folder)
                told = {"job": job.model_dump_json(), "need": need.model_dump_json(), "storage": self.storage}
                return told | ({"store": self.home.ticket} if self.home.ticket else {})
        return None if live else Searcher.FINISHED

    def _say_what_waits(self, live: list[Need]) -> None:
        missing = self.slots.missing(live)
        if (missing is not None) != self._waits:
            self._waits = missing is not None
            waiting = f"a run waits for a node: {missing}. Start one, or stop with Ctrl-C"
            self.dispatcher.tell(waiting if missing else "a node has come: the run that waited goes on")

    def _is_of(self, need: Need, cell: Cell) -> bool:
        return self._need_of[cell.id] == need

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        del self.needs[trial_id]
        job = self.jobs.pop(trial_id)
        self.home.ended(job.folder)
        if trial_id in self.given_up:
            self.dispatcher.again(job)
        else:
            self.dispatcher.ended(job)

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class CellScheduler(_StaysHere, FIFOScheduler):
    """Asks the dispatcher, that is the cell's own bracket, whether a trial goes on."""

    def __init__(self, searcher: JobSearcher) -> None:
        super().__init__()
        self.searcher = searcher
        self._ending: set[str] = set()

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """The run was lost: its last words, unless it has told of a fault itself.

        Tune never recovers a trial whose actor, handed on by another, dies before the trial has begun in it.
        """
        if trial.status == Trial.PENDING and trial.should_recover():
            self.searcher.given_up.add(trial.trial_id)
        said = last_words(str(trial.get_error() or ""))
        if said and "fault" not in trial.last_result:
            self.searcher.dispatcher.fault(self.searcher.jobs[trial.trial_id], said)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        job = self.searcher.jobs.get(trial.trial_id)
        if job is not None and "fault" in result:
            self.searcher.dispatcher.fault(job, result["fault"])
        if job is None or "epoch" not in result or trial.trial_id in self._ending:
            return TrialScheduler.CONTINUE
        trial.max_failures = trial.num_failures + LOSSES  # it gets on: the machines may fail it again
        self.searcher.home.heard(job.folder, result.get("line"))
        metrics = {name: value for name, value in result.items() if "/" in name and isinstance(value, int | float)}
        stop = self.searcher.dispatcher.epoch(job, result["epoch"], metrics)
        if not stop:
            return TrialScheduler.CONTINUE
        self.searcher.home.decided(job.folder)
        if self.searcher.needs[trial.trial_id].workers == 1:
            return TrialScheduler.STOP
        # Tune cannot end a Ray Train job gently, and would hand its actor on: the workers find the result and end.
        self._ending.add(trial.trial_id)
        return TrialScheduler.CONTINUE


class Quiet(TrialProgressCallback):
    """Tune prints a line on standard output for every run that ends without a last report, whatever it is told."""

    def _print(self, msg: str) -> None:
        """The live view says what there is to say."""
