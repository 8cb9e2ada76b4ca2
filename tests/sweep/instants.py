"""A sweep without Ray, one run at a time, whose driver can be killed between any two things that last.

Whatever the killed driver had in memory is gone: its objects are thrown away, and new ones go on from the folder.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import sqlalchemy

from hsray import runlog
from hsray.experiment import Experiment, parse_experiment
from hsray.runlog import append_epoch, keep_epochs, read_json, write_json
from hsray.sweep.cells import Cell, cells
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.jobs import Job
from hsray.training import SCORE


class Killed(BaseException):
    """`kill -9`: nothing catches it."""


class WorkerDied(Exception):
    """The run's process is gone; the driver starts it again."""


class Clock:
    """Counts what lasts; the driver dies before the event of a given number, or a worker before one of its steps."""

    def __init__(self, dies_at: int | None = None, worker_dies_at: int | None = None) -> None:
        self.now, self.dies_at = 0, dies_at
        self.steps, self.worker_dies_at = 0, worker_dies_at

    def tick(self, *_: Any) -> None:
        if self.now == self.dies_at:
            raise Killed
        self.now += 1

    def step(self) -> None:
        self.steps += 1
        if self.steps - 1 == self.worker_dies_at:
            raise WorkerDied


def tuned(**parts: Any) -> Experiment:
    """One cell with a condition in its space, enough trials for TPE, and a bracket."""
    content = {
        "name": "e", "task": "spectral", "axes": {"dataset": ["tiny"], "strategy": ["mlp"], "fraction": [1.0]},
        "search": {
            "lr": {"log": [1e-4, 1e-1]},
            "schedule": {"choice": ["constant", "cosine"]},
            "clip": {"uniform": [0.1, 2.0], "when": {"schedule": "cosine"}},
        },
        "budget": {"trials": 13, "epochs": 5, "grace": 1, "factor": 2, "patience": None}, "final": {"seeds": 1},
    }  # fmt: skip
    return parse_experiment(content | parts)


def score(job: Job, epoch: int) -> float:
    """Of the run's values alone."""
    training = job.config.training
    height = 0.6 + 0.3 * math.sin(5 * math.log(training.lr)) + 0.05 * math.cos(training.clip or 0)
    return height * (1 - math.exp(-(epoch + 1) / 2)) + 0.01 * math.sin(40 * training.lr * epoch)


def work(job: Job, dispatcher: Dispatcher, clock: Clock) -> None:
    """What a worker does, from its checkpoint on."""
    done = (read_json(job.folder / "last.pt") or {"epochs": 0})["epochs"]
    keep_epochs(job.folder, done)
    metrics: dict[str, float] = {}
    for epoch in range(done, job.config.training.epochs):
        metrics = {SCORE: score(job, epoch), "cost/seconds": 1.0 + epoch}
        if job.number == 10 and epoch == 1:
            result(job, "FAILED", metrics)
            break
        clock.tick()
        clock.step()
        append_epoch(job.folder, epoch, metrics)
        clock.step()
        if (epoch + job.number) % 2:
            write_json(job.folder / "last.pt", {"epochs": epoch + 1})
            clock.step()
        if dispatcher.epoch(job, epoch, metrics):
            break
    else:
        best = max(score(job, epoch) for epoch in range(job.config.training.epochs))
        result(job, "COMPLETE", metrics | {SCORE: best})
    dispatcher.ended(job)


def result(job: Job, state: str, metrics: dict[str, float]) -> None:
    content = {"state": state, "reason": None, "metrics": metrics, "started": 0.0, "ended": 1.0, "artifacts": []}
    write_json(job.folder / "result.json", content)


def drive(found: list[Cell], experiment: Experiment, folder: Path, clock: Clock) -> Dispatcher:
    """Until nothing is left, or the driver dies."""
    with ticking(clock):
        dispatcher = Dispatcher(experiment, found, folder, folder)
        while (job := dispatcher.next_job()) is not None:
            try:
                work(job, dispatcher, clock)
            except WorkerDied:
                work(job, dispatcher, clock)
    return dispatcher


@contextmanager
def ticking(clock: Clock) -> Iterator[None]:
    """Every commit of the ledger and every file that is written or removed counts."""
    write, unlink = runlog.write_atomically, Path.unlink

    def written(path: Path, content: bytes) -> None:
        clock.tick()
        write(path, content)

    def unlinked(path: Path, missing_ok: bool = False) -> None:
        clock.tick()
        unlink(path, missing_ok)

    connections: list[Any] = []

    def connected(connection: Any, _: Any) -> None:
        connections.append(connection)

    sqlalchemy.event.listen(sqlalchemy.Engine, "commit", clock.tick)
    sqlalchemy.event.listen(sqlalchemy.Pool, "connect", connected)
    try:
        with mock.patch.object(runlog, "write_atomically", written), mock.patch.object(Path, "unlink", unlinked):
            yield
    except Killed:
        for connection in connections:  # the operating system would
            connection.close()
        raise
    finally:
        sqlalchemy.event.remove(sqlalchemy.Engine, "commit", clock.tick)
        sqlalchemy.event.remove(sqlalchemy.Pool, "connect", connected)


def table(dispatcher: Dispatcher, folder: Path) -> dict[str, Any]:
    """All that must be equal to the last digit: trials as the ledger has them, and the finals."""
    found: dict[str, Any] = {}
    for cell, state in dispatcher.cells.items():
        found[cell] = [
            (t.state.name, t.params, t.distributions, t.values, t.intermediate_values) for t in state.study.study.trials
        ]
    finals = sorted(folder.glob("cells/*/final-*"))
    found["finals"] = {f"{final.parent.name}/{final.name}": read_json(final / "result.json") for final in finals}
    return found


def one_cell(folder: Path, experiment: Experiment) -> list[Cell]:
    return cells(experiment, folder)
