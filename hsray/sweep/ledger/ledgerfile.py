"""The ledger's own file: whole, or put aside with its write-ahead log; of a version that can be read."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

from hsray.errors import HsrayError, RequestError

FORMAT = 1  # 0: the rungs of the bracket were noted by Optuna's pruner; nothing else differs
FORMAT_KEY = "hsray.format"
MAGIC = b"SQLite format 3\x00"
ERROR, CORRUPT = 1, 11  # SQLite's codes; the first is for SQL that does not fit the tables
DAMAGED = (CORRUPT, 26)  # 26: no database
LOGS = ("-wal", "-shm")


def open_file(path: Path, runs: bool, say: Callable[[str], None]) -> Path | None:
    """Make sure that the file can be used: what cannot be read is put aside, and its new name returned.

    `runs`: there are runs, which an empty ledger would not know of.

    Raises:
        RequestError: a newer hsray wrote it.
        HsrayError: it cannot be opened, which says nothing of what is in it: locked, no permission, a full disk.
    """
    fault = _fault(path, runs)
    return None if fault is None else put_aside(path, fault, say)


def put_aside(path: Path, fault: str, say: Callable[[str], None]) -> Path:
    """Give the file, with its logs, a name that says that it is broken."""
    aside = _free_name(path)
    for part in [path, *_logs(path)]:
        if part.exists():
            part.rename(aside.with_name(aside.name + part.name.removeprefix(path.name)))
    say(f"the ledger cannot be read ({fault}); put aside as {aside}")
    return aside


def newer(where: str, why: str, do: str = "pip install -U hsray") -> RequestError:
    return RequestError(f"the ledger is of a newer version: {why}", where=where, do=do)


def _fault(path: Path, runs: bool) -> str | None:
    if not path.exists():
        return "the file is gone, its write-ahead log is there" if _logs(path) else None
    size = path.stat().st_size
    if size == 0:
        return "it is empty" if runs or _logs(path) else None  # a driver may have died as it made it
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            return "it is not a SQLite database"
    try:
        connection = sqlite3.connect(f"file:{quote(str(path))}?mode=rw", uri=True, timeout=30)
        try:
            return _content_fault(connection, path)
        finally:
            connection.close()
    except UnicodeDecodeError:  # SQLite's own message has a spoilt name in it
        return "its tables are damaged"
    except sqlite3.DatabaseError as error:
        if error.sqlite_errorcode & 0xFF in DAMAGED:
            return str(error)
        do = "make room, give permission, or end what holds it; then run the same command again"
        raise HsrayError(f"the ledger cannot be opened: {error}", where=str(path), do=do) from None


def _content_fault(connection: sqlite3.Connection, path: Path) -> str | None:
    [[version]] = connection.execute("PRAGMA user_version")
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    if tables and not {"studies", "trials"} <= tables:
        return "it is another program's database"
    if tables and version > FORMAT:
        raise newer(str(path), f"its format is {version}, and this hsray reads up to {FORMAT}")
    [answer] = connection.execute("PRAGMA quick_check(1)").fetchone()
    return None if answer == "ok" else answer.splitlines()[-1]


def _logs(path: Path) -> list[Path]:
    return [log for log in (path.with_name(path.name + suffix) for suffix in LOGS) if log.exists()]


def _free_name(path: Path) -> Path:
    """Never that of something else."""
    stamp = f"{datetime.now(UTC):%Y%m%dT%H%M%S}"
    names = (f"{path.name}.broken-{stamp}{extra}Z" for extra in ["", *(f".{n}" for n in range(1, 1000))])
    return next(found for found in map(path.with_name, names) if not found.exists())
