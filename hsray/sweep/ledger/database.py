"""Where the ledger lies: a SQLite file in the sweep's folder, or the database server of HSRAY_LEDGER.

Every write may be repeated. A server that goes away is waited for; a file that cannot be written is an error at once,
and what the runs leave in their folders is taken up by the next command.
"""

from __future__ import annotations

import itertools
import os
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import optuna
import sqlalchemy
from optuna.distributions import BaseDistribution
from optuna.exceptions import StorageInternalError, UpdateFinishedTrialError
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hsray.errors import HsrayError, RequestError
from hsray.sweep.control.stopping import stop_requested
from hsray.sweep.ledger.identity import sweep_id
from hsray.sweep.ledger.ledgerfile import CORRUPT, DAMAGED, ERROR, FORMAT, FORMAT_KEY, newer, open_file, put_aside
from hsray.tracking.client import brief, redacted

T = TypeVar("T")
VARIABLE = "HSRAY_LEDGER"
OWNER = "hsray.sweep"
PATIENCE_S = 300.0  # for a database server that has gone away
REBUILT = "put the ledger aside by hand (rename it); the same command then rebuilds it from the run folders"
AGAIN = "run the same command again{}: it goes on from here, and nothing is trained twice"


def open_ledger(
    folder: Path,
    say: Callable[[str], None] = lambda line: None,
    doubt: Callable[[str, list[FrozenTrial]], str | None] = lambda study, trials: None,
) -> Ledger:
    """The ledger of the sweep in `folder`, for its one driver. `say` gets what people have to know.
    `doubt(study, trials)` says what in a file cannot be true.

    A file that cannot be read is put aside, never deleted; studies fill themselves from the run folders.

    Raises:
        RequestError: HSRAY_LEDGER is not the address of a database that answers, or the ledger is of a newer version.
        HsrayError: the ledger's file cannot be opened, though it may be whole.
    """
    url = os.environ.get(VARIABLE)
    if url:
        return _on_server(url, folder, say)
    path = folder / "ledger.db"
    aside = open_file(path, any(folder.glob("cells/*/trial-*")), say)
    ledger = _in_file(path, folder, say)
    if fault := _damage(ledger, doubt):
        ledger.remove_session()
        ledger.engine.dispose()  # before the file moves: SQLite deletes its log by name
        aside = put_aside(path, fault, say)
        ledger = _in_file(path, folder, say)
    ledger.put_aside = aside
    return ledger


def _in_file(path: Path, folder: Path, say: Callable[[str], None]) -> Ledger:
    address = sqlalchemy.URL.create("sqlite", database=str(path)).render_as_string(hide_password=False)
    try:
        ledger = Ledger(address, folder, say, connect_args={"timeout": 30})

        @sqlalchemy.event.listens_for(ledger.engine, "connect")
        def _(connection: Any, _record: Any) -> None:
            # Write-ahead logging: a commit survives the driver's death and costs one append.
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute("PRAGMA synchronous=NORMAL")

        ledger.engine.dispose()
        with ledger.engine.begin() as connection:
            if connection.exec_driver_sql("PRAGMA user_version").scalar() != FORMAT:
                connection.exec_driver_sql(f"PRAGMA user_version={FORMAT}")
    except (SQLAlchemyError, StorageInternalError) as error:
        raise _refused(_cause(error), str(path), str(path)) from None
    return ledger


def _damage(ledger: Ledger, doubt: Callable[[str, list[FrozenTrial]], str | None]) -> str | None:
    """What in a file cannot be read or be true, though SQLite's own check passes it. All is read once."""
    try:
        for study in ledger.get_all_studies():
            if fault := doubt(study.study_name, ledger.get_all_trials(study._study_id, deepcopy=False)):
                return fault
    except (SQLAlchemyError, StorageInternalError) as error:
        cause = _cause(error)
        # Without a code: text that is none.
        if isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlite_errorcode", CORRUPT) & 0xFF in DAMAGED:
            return _reason(cause, ledger.url)
        raise _refused(cause, ledger.url, ledger.where) from None
    except (ValueError, LookupError, TypeError) as error:
        return f"{type(error).__name__}: {brief(error, ledger.url)}"
    return None


def _on_server(url: str, folder: Path, say: Callable[[str], None]) -> Ledger:
    here = f"{VARIABLE}={redacted(url)}"
    mend = f"start it, mend {VARIABLE}, or unset it to keep the ledger in the sweep's folder"
    try:
        address = sqlalchemy.make_url(url)
        kind = address.get_backend_name()
    except (SQLAlchemyError, ValueError):  # a port that is no number
        raise RequestError(f"{VARIABLE} is not the address of a database", where=here, do=mend) from None
    if kind == "sqlite":
        raise RequestError(
            "a ledger shared by several sweeps needs a database server",
            where=here,
            do=f"name one, such as postgresql://user@host/database; without {VARIABLE} each sweep has its own file",
        )
    if address.drivername == "postgresql":  # what that means changed from one SQLAlchemy to the next
        address = address.set(drivername="postgresql+psycopg")
    # A host that is gone without a word is noticed within half a minute.
    quick = {"connect_timeout": 10, "keepalives_idle": 10, "keepalives_interval": 5, "tcp_user_timeout": 30_000}
    options = {"connect_args": quick if address.drivername.startswith("postgresql+psycopg") else {}}
    try:
        ledger = Ledger(address.render_as_string(hide_password=False), folder, say, pool_pre_ping=True, **options)
    except ImportError:
        do = "install the driver: pip install 'hsray[postgres]'"
        raise RequestError("the database's driver is not installed", where=here, do=do) from None
    except (SQLAlchemyError, StorageInternalError) as error:
        reason = _reason(_cause(error), url)
        raise RequestError(f"the ledger's database does not answer: {reason}", where=here, do=mend) from None
    ledger.owner, ledger.prefix = sweep_id(folder), f"{folder.name}/"
    return ledger


class Ledger(optuna.storages.RDBStorage):
    """Optuna's database storage, with writes that may be repeated and are."""

    def __init__(self, url: str, folder: Path, say: Callable[[str], None], **engine: Any) -> None:
        self.folder, self.say = folder, say
        self.prefix, self.owner = "", ""  # of the studies in a shared database
        self.put_aside: Path | None = None
        self.patience = PATIENCE_S
        self.trouble: HsrayError | None = None  # why nothing can be written any more
        self.recovered, self.unreadable = 0, list[str]()  # trials that were taken from their folders
        # Optuna fills templates in addresses.
        escaped = url.replace("{", "{{").replace("}", "}}")
        super().__init__(escaped, engine_kwargs=engine, skip_compatibility_check=True)
        current = self.get_current_version()
        if current != self.get_head_version():
            if current not in self.get_all_versions():
                raise newer(self.where, f"its tables are those of a newer Optuna ({current})", "pip install -U optuna")
            if self.engine.dialect.name != "sqlite":
                do = f'optuna storage upgrade --storage "${VARIABLE}" (it may serve other programs too)'
                raise RequestError("the database's tables are those of an older Optuna", where=self.where, do=do)
            self.upgrade()

    @property
    def where(self) -> str:
        """For messages: no password in it."""
        server = self.engine.dialect.name != "sqlite"
        return redacted(self.engine.url.render_as_string()) if server else str(self.folder / "ledger.db")

    def study(self, cell: str, directions: Sequence[StudyDirection]) -> tuple[int, list[FrozenTrial]]:
        """The study of a cell, made where there is none, and its trials by number."""

        def found() -> tuple[int, list[FrozenTrial]]:
            name = self.prefix + cell
            try:
                study = self.get_study_id_from_name(name)
            except KeyError:
                study = self.create_new_study(directions, name)
            self._check(study, name)
            return study, sorted(self.get_all_trials(study, deepcopy=False), key=lambda trial: trial.number)

        return self.patiently(found)

    def add(self, study: int, number: int, trial: FrozenTrial) -> int:
        """A trial with all it has, under the number that must be its own; its id."""

        def added() -> int:
            if self._id(study, number) is None:
                self.create_new_trial(study, trial)
            for later in itertools.count(number + 1):
                if (doubled := self._id(study, later)) is None:
                    break
                self._forget(doubled)  # Optuna repeated a write that had reached the database
            return self.get_trial_id_from_study_id_trial_number(study, number)

        return self.patiently(added)

    def set_value(self, trial: int, name: str, value: Any, kind: BaseDistribution) -> None:
        """One sampled value of a trial that lacks it."""
        self.patiently(lambda: self.set_trial_param(trial, name, kind.to_internal_repr(value), kind))

    def note(self, trial: int, step: int, score: float) -> None:
        """A validation score after `step` epochs."""
        self.patiently(lambda: self.set_trial_intermediate_value(trial, step, score))

    def tell(self, trial: int, state: TrialState, values: Sequence[float] | None) -> None:
        """The end of a trial."""

        def told() -> None:
            with suppress(UpdateFinishedTrialError):  # the answer to the first attempt was lost
                self.set_trial_state_values(trial, state, values)

        self.patiently(told)

    def give_up(self, cell: str) -> None:
        """No trial of a study, if there is one, is under way any more: those that were have failed."""

        def under_way() -> list[int]:
            try:
                study = self.get_study_id_from_name(self.prefix + cell)
            except KeyError:
                return []
            self._check(study, self.prefix + cell)
            trials = self.get_all_trials(study, deepcopy=False)
            return [trial._trial_id for trial in trials if not trial.state.is_finished()]

        for trial in self.patiently(under_way):
            self.tell(trial, TrialState.FAIL, None)

    def patiently(self, work: Callable[[], T]) -> T:
        """Do it; where the database server has gone away, wait until it is back.

        Raises:
            HsrayError: it did not come back in time, or the ledger cannot be written. After that nothing more is tried.
        """
        if self.trouble is not None:
            raise self.trouble
        gone: float | None = None
        while True:
            try:
                answer = work()
            except (SQLAlchemyError, StorageInternalError) as error:
                cause = _cause(error)
                reason = _reason(cause, self.url)
                if self.engine.dialect.name == "sqlite":
                    self.trouble = _refused(cause, self.url, self.where)
                    raise self.trouble from None
                if not isinstance(cause, DBAPIError):
                    raise
                now = time.monotonic()
                if gone is None:
                    gone = now
                    self.say(f"the ledger's database does not answer ({reason}); waiting up to {self.patience:.0f} s")
                if now - gone > self.patience or stop_requested(self.folder):
                    what = f"the ledger's database has not answered for {now - gone:.0f} s: {reason}"
                    self.trouble = HsrayError(what, where=self.where, do=AGAIN.format(" when it answers"))
                    raise self.trouble from None
                time.sleep(1)
            else:
                if gone is not None:
                    self.say("the ledger's database answers again")
                return answer

    def say_what_was_recovered(self) -> None:
        """Once all studies are open."""
        count, failed = self.recovered, self.unreadable
        if count or failed or self.put_aside:
            done = "the ledger is rebuilt" if self.put_aside else "the ledger did not know all trials and is completed"
            lost = f"; not so, and noted as failed: {'; '.join(failed)}" if failed else ""
            self.say(f"{done} from the run folders: {count} trials{lost}")
        self.recovered, self.unreadable, self.put_aside = 0, [], None

    def _check(self, study: int, name: str) -> None:
        """In a shared database: is the study one that we can read, and this sweep's?"""
        if not self.owner:
            return
        told = self.get_study_user_attrs(study)
        if told.get(FORMAT_KEY, FORMAT) > FORMAT:
            raise newer(self.where, f"its format is {told[FORMAT_KEY]}, and this hsray reads up to {FORMAT}")
        if told.get(OWNER, self.owner) != self.owner:
            raise RequestError(
                f"the ledger's database holds a study '{name}' that is another sweep's of the same name",
                where=f"{self.where}; this sweep's folder is {self.folder}",
                do="give the sweep another name, or use the folder that the other one began in",
            )
        for key, value in ((FORMAT_KEY, FORMAT), (OWNER, self.owner)):
            if key not in told:
                self.set_study_user_attr(study, key, value)

    def _id(self, study: int, number: int) -> int | None:
        with suppress(KeyError):
            return self.get_trial_id_from_study_id_trial_number(study, number)
        return None

    def _forget(self, trial: int) -> None:
        tables = sqlalchemy.MetaData()
        tables.reflect(self.engine)
        with self.engine.begin() as connection:
            for table in reversed(tables.sorted_tables):
                if "trial_id" in table.c:
                    connection.execute(table.delete().where(table.c.trial_id == trial))


def _cause(error: Exception) -> Exception:
    """What the database said: Optuna wraps it."""
    return error.__cause__ if isinstance(error.__cause__, SQLAlchemyError) else error


def _refused(cause: Exception, url: str, where: str) -> HsrayError:
    """A file that SQLite does not read or write, for what is in it or for what is around it."""
    reason = _reason(cause, url)
    if isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlite_errorcode", CORRUPT) & 0xFF in (ERROR, *DAMAGED):
        return HsrayError(f"the ledger cannot be used: {reason}", where=where, do=REBUILT)
    do = "make room, or end what holds the file; then " + AGAIN.format("")
    return HsrayError(f"the ledger cannot be written: {reason}", where=where, do=do)


def _reason(cause: Exception, url: str) -> str:
    """In the driver's own words, without SQL and without secrets."""
    said = cause.orig if isinstance(cause, DBAPIError) else None
    return brief(said if isinstance(said, Exception) else cause, url)
