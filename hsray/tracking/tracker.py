"""Keeps MLflow equal to the run folders, in a thread of its own.

All that matters is on disk: this may die at any time, and the next driver delivers the rest.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsray.errors import HsrayError, RequestError
from hsray.runlog import RESULT
from hsray.tracking.client import all_runs, answering, brief, open_client, redacted
from hsray.tracking.delivery import files_to_send
from hsray.tracking.owner import Owner
from hsray.tracking.runfolder import read_run, run_folders
from hsray.tracking.runs import ExperimentRuns

if TYPE_CHECKING:
    from mlflow import MlflowClient

LIVE_EVERY_S = 2.0  # between two looks at runs that go on
LIVE_SHARE = 0.1  # of the time, at most, is spent on them
PACE_S = 0.05
AWAY_S = (0.5, 1.0, 2.0, 5.0)  # waits while MLflow does not answer
# A run that MLflow refuses for what it is must not keep the others waiting.
REFUSALS = {"INVALID_PARAMETER_VALUE", "BAD_REQUEST", "RESOURCE_DOES_NOT_EXIST", "INVALID_STATE"}


class Tracker:
    """Writes the runs of one MLflow experiment.

    `note` says that a run's folder has something new and returns at once. A thread finds or makes the run, whose tag
    `hsray.key` is its identity, and delivers what is missing. While MLflow is away the folders wait. `problem` is what
    went wrong last, None when all is well; `refused` says why a folder cannot be delivered. `borrowed(folder, names)`
    may bring a run's files for the time of their delivery, where they lie elsewhere.
    """

    def __init__(self, uri: str, experiment: str) -> None:
        self.uri, self.experiment = uri, experiment
        self.problem: str | None = None
        self.refused: dict[Path, str] = {}
        self.borrowed: Callable[[Path, Sequence[str]], AbstractContextManager[Any]] = lambda run, names: nullcontext()
        self._client: MlflowClient | None = None
        self._runs: ExperimentRuns | None = None  # None = to be read from MLflow (again)
        self._mine: set[str] = set()
        self._lock = threading.Lock()
        self._wake = threading.Event()
        self._pending: dict[Path, None] = {}
        self._chores: list[Callable[[ExperimentRuns], None]] = []
        self._busy = self._hurry = self._closing = False
        self._next_live = 0.0
        self._failures = 0
        self._thread = threading.Thread(target=self._work, name="hsray-tracker", daemon=True)

    def check(self) -> None:
        """Ask MLflow for the experiment, which need not exist yet.

        Raises:
            RequestError: MLflow does not answer, does not fit, or the experiment was deleted there.
        """
        self._client = open_client(self.uri, to_write=True)
        with answering(self.uri):
            found = self._client.get_experiment_by_name(self.experiment)
        if found is not None and found.lifecycle_stage == "deleted":
            raise RequestError(
                f"the MLflow experiment '{self.experiment}' was deleted",
                where=redacted(self.uri),
                do=f"restore it (mlflow experiments restore -x {found.experiment_id}), or give the sweep another name",
            )

    def refuse_others(self, owner: Owner) -> None:
        """Make sure that the experiment has no runs under way of a sweep in another folder than `owner`.

        Raises:
            RequestError: it has, and names where; or MLflow does not answer.
        """
        client = self._client or open_client(self.uri, to_write=True)
        with answering(self.uri):
            found = client.get_experiment_by_name(self.experiment)
            other = Owner.named_by(found)
            if found is None or other is None or not owner.is_other_than(other):
                return
            under_way = all_runs(client, found.experiment_id, "attributes.status = 'RUNNING'")
        if any("hsray.key" in run.data.tags for run in under_way):
            raise RequestError(
                f"the MLflow experiment '{self.experiment}' has runs under way of a sweep in another folder",
                where=other.at,
                do="wait for that sweep, or give this one another name; if it is dead, `hsray doctor --fix` with its "
                f"--runs closes its runs; if its folder is gone, `hsray doctor --delete {self.experiment}` does",
            )

    def note(self, run_dir: Path) -> None:
        """This run's folder has changed. Returns at once."""
        with self._lock:
            self._pending[run_dir] = None
        self._start()

    def reconcile(self, sweep_dir: Path, owner: Owner) -> None:
        """Deliver what earlier drivers of a sweep did not; close as KILLED the open runs that have no folder there.

        The experiment is tagged with `owner`, the sweep's folder.
        """
        with self._lock:
            self._pending.update(dict.fromkeys(run_folders(sweep_dir)))
            self._chores.append(lambda runs: runs.take_over(sweep_dir, owner))
        self._start()

    def supersede(self, current_keys_by_cell: Mapping[str, Iterable[str]]) -> None:
        """Name the finals that count. Others of these cells, under older definitions too, are tagged superseded.

        So are the trials of a cell's other attempts.
        """
        current = {cell: set(keys) for cell, keys in current_keys_by_cell.items()}
        with self._lock:
            self._chores.append(lambda runs: runs.supersede(current))
        self._start()

    def flush(self, timeout_s: float) -> int:
        """Wait until all is delivered, at most `timeout_s`; return how many run folders are not."""
        end = time.monotonic() + timeout_s
        self._hurry = True
        self._wake.set()
        while self._open_work() and time.monotonic() < end:
            if not self._thread.is_alive():
                raise HsrayError("the thread that writes to MLflow broke down", do="report this with the lines above")
            time.sleep(0.02)
        self._hurry = False
        with self._lock:
            return len(self._pending | dict.fromkeys(self.refused)) + len(self._chores)

    def close(self, timeout_s: float | None = None) -> int:
        """Stop; return how many run folders are not delivered. With a timeout it waits no longer, whatever is left.

        Runs that this tracker wrote and that have not ended are closed as KILLED. They open again when taken up.
        """
        if not self._thread.is_alive():
            return 0
        ends = time.monotonic() + (timeout_s or 0)
        undelivered = self.flush(5 if timeout_s is None else timeout_s)
        self._closing = True
        self._wake.set()
        self._thread.join(None if timeout_s is None else max(1.0, ends - time.monotonic()))
        return undelivered

    def _start(self) -> None:
        if self._thread.ident is None:
            self._thread.start()
        self._wake.set()

    def _open_work(self) -> bool:
        with self._lock:
            return bool(self._busy or self._pending or self._chores)

    def _work(self) -> None:
        while not self._closing:
            live = self._hurry or time.monotonic() >= self._next_live
            due, chores = self._take(live)
            if not due and not chores:
                self._wake.wait(max(PACE_S, self._next_live - time.monotonic()) if self._pending else None)
                self._wake.clear()
                continue
            started = time.monotonic()
            self._attempt(partial(self._deliver_all, due, chores))
            if live:
                spent = time.monotonic() - started
                self._next_live = time.monotonic() + max(LIVE_EVERY_S, spent / LIVE_SHARE)
            self._rest(AWAY_S[min(self._failures, len(AWAY_S)) - 1] if self._failures else PACE_S)
        if not self._failures:
            self._attempt(lambda: self._connected().kill(self._mine))

    def _rest(self, seconds: float) -> None:
        """Sleep so long; at most half a second while somebody waits for `flush`."""
        started = time.monotonic()
        while not self._closing and time.monotonic() - started < (min(seconds, 0.5) if self._hurry else seconds):
            time.sleep(PACE_S)

    def _take(self, live: bool) -> tuple[list[Path], list[Callable[[ExperimentRuns], None]]]:
        """What to do now: folders of ended runs at once, the others when `live`. They stay noted until delivered."""
        with self._lock:
            waiting, chores = list(self._pending), list(self._chores)
        due = [folder for folder in waiting if live or (folder / RESULT).exists()]
        self._busy = bool(due or chores)
        return due, chores

    def _attempt(self, work: Callable[[], None]) -> None:
        """Do something with MLflow, which may be away."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            work()
            self.problem, self._failures = None, 0
        except (MlflowException, SQLAlchemyError, OSError, RequestError) as error:
            # What took place there and what did not is unknown: read it all again.
            self.problem, self._runs = brief(error, self.uri), None
            self._failures += 1
        finally:
            self._busy = False

    def _deliver_all(self, due: list[Path], chores: list[Callable[[ExperimentRuns], None]]) -> None:
        runs = self._connected()
        for folder in due:
            with self._lock:  # before it is read, so that a note meanwhile counts
                self._pending.pop(folder, None)
            delivered = False
            try:
                self._deliver(runs, folder)
                delivered = True
            finally:
                if not delivered:  # to the end of the queue
                    with self._lock:
                        self._pending[folder] = None
        for chore in chores:
            chore(runs)
            with self._lock:
                self._chores.remove(chore)

    def _deliver(self, runs: ExperimentRuns, folder: Path) -> None:
        from mlflow.exceptions import MlflowException

        self.refused.pop(folder, None)
        try:
            record = read_run(folder)
            # Files that lie in a store are here while they are sent on.
            names = () if runs.up_to_date(record) else files_to_send(record)
            with self.borrowed(folder, names):
                runs.deliver(record)
            self._mine.add(record.key)
        except HsrayError as error:
            self.refused[folder] = str(error)
        except MlflowException as error:
            if error.error_code not in REFUSALS:
                raise
            self.refused[folder] = f"MLflow refuses {folder.name}: {brief(error, self.uri)}"

    def _connected(self) -> ExperimentRuns:
        if self._client is None:
            self._client = open_client(self.uri, to_write=True)
        if self._runs is None:
            self._runs = ExperimentRuns(self._client, self.uri, self.experiment)
        return self._runs
