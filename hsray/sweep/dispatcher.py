"""What runs next, and what an epoch or an end means: the sweep's logic, without Ray.

Trials go round the cells, so that all of them advance; when a cell's trials have ended, its best configuration is
trained again under every seed. All state is in the ledger and the run folders; this object can be lost at any time.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hsray.experiment import Experiment
from hsray.runlog import read_epochs, write_json
from hsray.sweep.cells import Cell
from hsray.sweep.jobs import Job, final_job, trial_job, write_spec
from hsray.sweep.ledger import CellStudy, open_ledger
from hsray.training import SCORE


@dataclass
class CellState:
    """Where a cell stands, for the live view and the closing word."""

    study: CellStudy
    best: float | None = None
    finals_planned: int = 0
    finals_done: int = 0
    stopped: int = 0
    failures: list[str] = field(default_factory=list)
    waiting_finals: list[tuple[Job, dict[str, Any]]] | None = None
    seconds: list[float] = field(default_factory=list)

    @property
    def left(self) -> int:
        """Trials and finals that have not ended."""
        return self.study.planned - self.trials_ended + self.finals_planned - self.finals_done

    @property
    def trials_ended(self) -> int:
        return self.study.asked - self.study.live - len(self.study.interrupted)


class Dispatcher:
    """Hands out jobs and takes what comes back.

    `changed(folder)` is called when a run has something new to record, `chosen({cell: keys})` when a cell's trials have
    ended and it is known which finals count.
    """

    def __init__(
        self,
        experiment: Experiment,
        cells: list[Cell],
        folder: Path,
        cache: Path,
        changed: Callable[[Path], None] = lambda folder: None,
        chosen: Callable[[dict[str, list[str]]], None] = lambda finals: None,
    ) -> None:
        self.experiment, self.folder, self.cache = experiment, folder, cache
        self.changed, self.chosen = changed, chosen
        storage = open_ledger(folder / "ledger.db")
        self.cells = {cell.id: CellState(CellStudy(cell, storage, experiment.budget)) for cell in cells}
        self.live: dict[str, Job] = {}
        self.lost: list[Job] = []
        self._epochs: dict[str, int] = {}
        for state in self.cells.values():
            best = state.study.best()
            state.best = best.values[0] if best else None
            state.finals_planned = 0 if state.study.cell.searches_fraction else experiment.final.seeds
            if state.study.trials_done:
                self._plan_finals(state)  # those that have ended count from the start

    def next_job(self) -> Job | None:
        """The next run, or None: nothing can start now, and nothing ever will if `live` is empty too."""
        while True:
            job = self._next_trial() or self._next_final()
            if job is None or job.result is None:
                break
            self.live[job.key] = job  # it ended, but the ledger had not heard of it
            self.ended(job)
        if job is not None:
            self.live[job.key] = job
            self._epochs[job.key] = -1
            self.changed(job.folder)
        return job

    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> bool:
        """After an epoch of a run. True: stop it."""
        state = self.cells[job.cell]
        if epoch <= self._epochs[job.key]:
            return False  # trained again from a checkpoint
        self._epochs[job.key] = epoch
        self.changed(job.folder)
        if job.kind == "final":
            return False
        score = metrics[SCORE]
        state.best = max(score, state.best if state.best is not None else score)
        stop = state.study.report(job.number, epoch, score)
        if not stop or epoch + 1 >= job.config.training.epochs:
            return False  # at its last epoch there is nothing left to save
        # The bracket stopped it: the run's own process will not get to write this.
        records = read_epochs(job.folder)
        best = max(records, key=lambda record: record["metrics"][SCORE])
        seconds = records[-1]["metrics"]["cost/seconds"]
        cost = {"cost/seconds": seconds, "cost/device_seconds": seconds * self.experiment.resources.workers}
        ended = time.time()
        result = {
            "state": "PRUNED", "reason": f"stopped by the bracket after epoch {epoch + 1}", "started": ended - seconds,
            "ended": ended, "best_epoch": best["epoch"], "metrics": best["metrics"] | cost, "artifacts": [],
        }  # fmt: skip
        write_json(job.folder / "result.json", result)
        return True

    def ended(self, job: Job) -> None:
        """A run's process has ended; what came of it stands in its folder. Nothing there: the machine failed it."""
        self.live.pop(job.key, None)
        state, result = self.cells[job.cell], job.result
        if result is None:
            # It stays open in the ledger; the same command takes it up again under its number.
            self.lost.append(job)
            return
        (job.folder / "last.pt").unlink(missing_ok=True)
        state.seconds.append(result["ended"] - result["started"])
        if result["state"] == "FAILED":
            state.failures.append(f"{job.kind} {job.number}: {result['reason']}")
        state.stopped += result["state"] == "PRUNED"
        if job.kind == "trial":
            metrics = result["metrics"]
            state.study.tell(job.number, result["state"], metrics.get(SCORE), metrics.get("labelled_images"))
        else:
            state.finals_done += 1
        self.changed(job.folder)

    @property
    def left(self) -> int:
        """Runs that have not ended."""
        return sum(state.left for state in self.cells.values())

    def _next_trial(self) -> Job | None:
        order = sorted(self.cells.values(), key=lambda state: (not state.study.interrupted, state.study.asked))
        for state in order:
            asked = state.study.ask()
            if asked is not None:
                number, sampled = asked
                job = trial_job(state.study.cell, number, sampled, self.folder, self.cache)
                write_spec(job, state.study.cell, sampled)
                return job
        return None

    def _next_final(self) -> Job | None:
        for state in self.cells.values():
            if not state.study.trials_done:
                continue
            if state.waiting_finals is None:
                self._plan_finals(state)
            if state.waiting_finals:
                job, sampled = state.waiting_finals.pop(0)
                write_spec(job, state.study.cell, sampled)
                return job
        return None

    def _plan_finals(self, state: CellState) -> None:
        jobs = self._finals(state)
        state.waiting_finals = [(job, sampled) for job, sampled in jobs if job.result is None]
        state.finals_done = len(jobs) - len(state.waiting_finals)
        state.finals_planned = len(jobs)
        self.chosen({state.study.cell.id: [job.key for job, _ in jobs]})

    def _finals(self, state: CellState) -> list[tuple[Job, dict[str, Any]]]:
        best = state.study.best()
        if best is None or state.study.cell.searches_fraction:
            return []
        cell, sampled = state.study.cell, best.params
        seeds = range(self.experiment.final.seeds)
        return [(final_job(cell, seed, sampled, self.folder, self.cache), sampled) for seed in seeds]
