"""Thin adapters between Ray Tune and the dispatcher: a searcher that hands out jobs, a scheduler that stops them.

Tune's own bookkeeping starts afresh with every command and is never restored: the ledger is what lasts.
"""

from __future__ import annotations

from typing import Any

from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.jobs import Job


class _StaysHere:
    """Tune pickles its parts to restore them one day. These hold the ledger open and are never restored."""

    def __reduce__(self) -> tuple[Any, ...]:
        return object, ()

    def __deepcopy__(self, memo: dict[int, Any]) -> Any:
        return self


class JobSearcher(_StaysHere, Searcher):
    """Suggests the dispatcher's next job; FINISHED when nothing is left."""

    def __init__(self, dispatcher: Dispatcher, extra: dict[str, Any]) -> None:
        super().__init__()
        self.dispatcher, self.extra = dispatcher, extra
        self.jobs: dict[str, Job] = {}

    def suggest(self, trial_id: str) -> Any:
        job = self.dispatcher.next_job()
        if job is None:
            return None if self.dispatcher.live else Searcher.FINISHED
        self.jobs[trial_id] = job
        return {"job": job.model_dump_json(), **self.extra}

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        self.dispatcher.ended(self.jobs.pop(trial_id))

    def save(self, checkpoint_path: str) -> None:
        """Nothing to save: the ledger has it."""

    def restore(self, checkpoint_path: str) -> None:
        """Nothing to restore."""


class CellScheduler(_StaysHere, FIFOScheduler):
    """Asks the dispatcher, that is the cell's own bracket, whether a trial goes on."""

    def __init__(self, searcher: JobSearcher) -> None:
        super().__init__()
        self.searcher = searcher

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        job = self.searcher.jobs.get(trial.trial_id)
        if job is None or "epoch" not in result:
            return TrialScheduler.CONTINUE
        metrics = {name: value for name, value in result.items() if "/" in name and isinstance(value, int | float)}
        stop = self.searcher.dispatcher.epoch(job, result["epoch"], metrics)
        return TrialScheduler.STOP if stop else TrialScheduler.CONTINUE
