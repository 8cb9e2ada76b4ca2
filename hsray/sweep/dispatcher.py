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
from hsray.runlog import RESULT, read_epochs, write_json, write_json_once
from hsray.sweep.cells import Cell
from hsray.sweep.control.stopping import stop_requested
from hsray.sweep.jobs import Job, final_job, trial_folder, trial_job, trial_number, write_spec
from hsray.sweep.ledger.database import open_ledger
from hsray.sweep.ledger.studies import CellStudy, doubts
from hsray.sweep.redo import earlier_attempts, superseded_checkpoints
from hsray.training import SCORE, checkpoint
from hsray.training.finals import WEIGHTS
from hsray.training.memory import retries


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


@dataclass(frozen=True)
class Lost:
    """A run that the machine failed again and again, and what it last said."""

    job: Job
    reason: str


class Dispatcher:
    """Hands out jobs and takes what comes back.

    `changed(folder)` is called when a run has something new to record, `chosen({cell: keys})` when a cell's trials have
    ended and it is known which finals count; `tell(line)` tells people something, `discard(file)` deletes a file that
    is of no more use. Once the sweep is asked to stop, nothing more is handed out, and runs that end without a result
    are `interrupted`. Else they are `lost`. Both stay open: the same command goes on with them.
    `handed_back` are runs that had not begun when their process went; the next that are handed out.
    """

    def __init__(
        self,
        experiment: Experiment,
        cells: list[Cell],
        folder: Path,
        cache: Path,
        changed: Callable[[Path], None] = lambda folder: None,
        chosen: Callable[[dict[str, list[str]]], None] = lambda finals: None,
        tell: Callable[[str], None] = lambda line: None,
        discard: Callable[[Path], None] = lambda file: file.unlink(missing_ok=True),
    ) -> None:
        self.experiment, self.folder, self.cache = experiment, folder, cache
        self.changed, self.chosen, self.tell, self.discard = changed, chosen, tell, discard
        self.ledger = open_ledger(folder, tell, doubts(cells, folder))
        self.cells = {cell.id: CellState(CellStudy(cell, self.ledger, experiment.budget)) for cell in cells}
        self.ledger.say_what_was_recovered()
        self._supersede(cells)
        self.live: dict[str, Job] = {}
        self.lost: list[Lost] = []
        self.interrupted: list[Job] = []
        self._faults: dict[str, str] = {}
        self.handed_back: list[Job] = []
        self._epochs: dict[str, int] = {}
        for state in self.cells.values():
            best = state.study.best()
            state.best = best.values[0] if best else None
            state.finals_planned = 0 if state.study.cell.searches_fraction else experiment.final.seeds
            if state.study.trials_done:
                self._plan_finals(state)  # those that have ended count from the start
            elif state.study.cell.attempt > 1:
                self.chosen({state.study.cell.id: []})  # what was before the repetition does not count any more

    def next_job(self, wanted: Callable[[Cell], bool] = lambda cell: True) -> Job | None:
        """The next run of the cells that are wanted, or None: none of theirs can start now."""
        if stop_requested(self.folder):
            return None
        while True:
            job = self._next_again(wanted) or self._next_trial(wanted) or self._next_final(wanted)
            if job is None:
                return None
            self.live[job.key] = job
            self._epochs[job.key] = -1
            if not self._stopped_before(job) and job.result is None:
                self.changed(job.folder)
                return job
            self.ended(job)  # it ended, but the ledger had not heard of it

    def epoch(self, job: Job, epoch: int, metrics: dict[str, float]) -> bool:
        """After an epoch of a run. True: stop it."""
        state = self.cells[job.cell]
        last = self._epochs[job.key]
        if epoch <= last:
            return False  # trained again from a checkpoint
        if epoch > last + 1 and job.kind == "trial":  # its worker died after it had logged and before it reported
            missed = [record for record in read_epochs(job.folder) if last < record["epoch"] < epoch]
            if any(self.epoch(job, record["epoch"], record["metrics"]) for record in missed):
                return True
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
        records = [record for record in read_epochs(job.folder) if record["epoch"] <= epoch]  # workers may run ahead
        best = max(records, key=lambda record: record["metrics"][SCORE])
        seconds = records[-1]["metrics"]["cost/seconds"]
        cost = {"cost/seconds": seconds, "cost/device_seconds": seconds * state.study.cell.resources.workers}
        ended = time.time()
        result = {
            "state": "PRUNED", "reason": f"stopped by the bracket after epoch {epoch + 1}", "epochs": epoch + 1,
            "started": ended - seconds, "ended": ended,
            "best_epoch": best["epoch"], "metrics": best["metrics"] | cost, "artifacts": [],
        }  # fmt: skip
        if tried := retries(job.folder):
            result["retries"] = tried
        write_json_once(job.folder / RESULT, result)
        if (job.result or {}).get("state") == "COMPLETE":
            # Several workers ran ahead; what the bracket stops must not depend on who was faster.
            write_json(job.folder / RESULT, result)
        return True

    def fault(self, job: Job, reason: str) -> None:
        """The machine failed a run, which may be tried again."""
        self._faults[job.key] = reason

    def again(self, job: Job) -> None:
        """A run's process has gone before the run had begun in it: it is handed out anew, before all others."""
        if job.result is not None or stop_requested(self.folder):
            self.ended(job)
        else:
            del self.live[job.key]
            self.handed_back.append(job)

    def ended(self, job: Job) -> None:
        """A run's process has ended; what came of it stands in its folder. Nothing there: it was stopped, or failed."""
        self.live.pop(job.key, None)
        state, result = self.cells[job.cell], job.result
        if result is None:
            # It stays open in the ledger; the same command takes it up again under its number.
            if stop_requested(self.folder):
                self.interrupted.append(job)
            else:
                self.lost.append(Lost(job, self._faults.get(job.key, "its process ended without a word")))
            return
        for name in (checkpoint.NAME, checkpoint.PREVIOUS):
            self.discard(job.folder / name)
        state.seconds.append(result["ended"] - result["started"])
        if result["state"] == "FAILED":
            state.failures.append(f"{job.kind} {job.number}: {result['reason']}")
        state.stopped += result["state"] == "PRUNED"
        if job.kind == "trial":
            metrics = result["metrics"]
            before = state.study.best()
            self._note_epochs(job, result)
            state.study.tell(job.number, result["state"], metrics.get(SCORE), metrics.get("labelled_images"))
            self._keep(state, {job.number} | ({before.number} if before else set()))
        else:
            state.finals_done += 1
        self.changed(job.folder)

    @property
    def left(self) -> int:
        """Runs that have not ended."""
        return sum(state.left for state in self.cells.values())

    @property
    def goes_on(self) -> str:
        """From where a sweep that has begun goes on; empty for one that has not."""
        states = self.cells.values()
        trials, finals = sum(state.trials_ended for state in states), sum(state.finals_done for state in states)
        under_way = sum(len(state.study.interrupted) for state in states)
        if not trials + under_way:
            return ""
        return f"goes on: ended before, {trials} trials and {finals} finals; taken up again, {under_way}"

    @property
    def planned(self) -> int:
        """All runs of the sweep, as far as they are known."""
        return sum(state.study.planned + state.finals_planned for state in self.cells.values())

    def _supersede(self, cells: list[Cell]) -> None:
        """Nobody goes on with runs of attempts that were open when another was asked for. All else of them stays."""
        for cell in cells:
            for earlier in earlier_attempts(cell):
                self.ledger.give_up(earlier.id)
            for file in superseded_checkpoints(cell, self.folder):
                self.discard(file)

    def _stopped_before(self, job: Job) -> bool:
        """Tell the ledger of the epochs that a run taken up again has logged. True: the bracket stops it there.

        Several workers run ahead of the driver, and may have come to the end of a run that it would have stopped.
        """
        if job.kind == "final" or (job.result or {}).get("state", "COMPLETE") != "COMPLETE":
            return False
        return any(self.epoch(job, record["epoch"], record["metrics"]) for record in read_epochs(job.folder))

    def _note_epochs(self, job: Job, result: dict[str, Any]) -> None:
        """Epochs of an ended trial that the ledger has not heard of: the driver was dead when they were reported."""
        records = [r for r in read_epochs(job.folder) if r["epoch"] < result.get("epochs", r["epoch"] + 1)]
        self.cells[job.cell].study.note(job.number, [(r["epoch"], r["metrics"][SCORE]) for r in records])

    def _keep(self, state: CellState, numbers: set[int]) -> None:
        """Of these trials of a cell only the best of all keeps its weights, unless all do."""
        if self.experiment.keep == "all":
            return
        best = state.study.best() if self.experiment.keep == "best" else None
        for number in numbers - {best.number if best else None}:
            self.discard(trial_folder(state.study.cell, number, self.folder) / WEIGHTS)

    def _next_again(self, wanted: Callable[[Cell], bool]) -> Job | None:
        for job in self.handed_back:
            if wanted(self.cells[job.cell].study.cell):
                self.handed_back.remove(job)
                return job
        return None

    def _next_trial(self, wanted: Callable[[Cell], bool]) -> Job | None:
        order = sorted(self.cells.values(), key=lambda state: (not state.study.interrupted, state.study.asked))
        # One run at a time gives one table: a cell's next trial is not drawn without one that the machine failed.
        held = {lost.job.cell for lost in self.lost} if self.experiment.resources.concurrent == 1 else set()
        for state in filter(lambda state: wanted(state.study.cell) and state.study.cell.id not in held, order):
            asked = state.study.ask()
            if asked is not None:
                number, sampled = asked
                keep = self.experiment.keep != "finals"
                job = trial_job(state.study.cell, number, sampled, self.folder, self.cache, keep_weights=keep)
                write_spec(job, state.study.cell, sampled)
                return job
        return None

    def _next_final(self, wanted: Callable[[Cell], bool]) -> Job | None:
        for state in self.cells.values():
            if not state.study.trials_done or not wanted(state.study.cell):
                continue
            if state.waiting_finals is None:
                self._plan_finals(state)
            if state.waiting_finals:
                job, sampled = state.waiting_finals.pop(0)
                write_spec(job, state.study.cell, sampled)
                return job
        return None

    def _plan_finals(self, state: CellState) -> None:
        left = state.study.cell.folder(self.folder).glob(f"trial-*/{WEIGHTS}")  # by a driver that died
        self._keep(state, {trial_number(path.parent) for path in left})
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
