"""MLflow's databases, opened to read: SQLite by Python's own module, PostgreSQL by psycopg."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from urllib.parse import quote

from hsray.errors import RequestError
from hsray.leaderboard.mirror.address import Address
from hsray.tracking.client import PATIENCE_S, brief

ROWS = 100_000  # that are taken at a time
BUSY_S = 20  # MLflow's own patience with a locked SQLite database


class Database(ABC):
    """Every method raises `self.error` for what the database says."""

    error: type[Exception]
    any_of: str

    @abstractmethod
    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple]: ...

    @abstractmethod
    def scan(self, columns: str, table: str) -> Iterator[list[tuple]]:
        """All rows of a table, some at a time."""

    @abstractmethod
    def array(self, values: list[str]) -> Any:
        """Values for `any_of`."""

    @abstractmethod
    def has_table(self, name: str) -> bool: ...

    @abstractmethod
    def close(self) -> None: ...


class Sqlite(Database):
    """No transaction is held over the whole reading: it would keep writers waiting. So a run may change between two
    statements; it differs from the mirror then, and the next sync reads it again.
    """

    any_of = "IN (SELECT value FROM json_each(?))"

    def __init__(self, path: Path) -> None:
        import sqlite3

        self.error = sqlite3.Error
        self.connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode=ro", uri=True, timeout=BUSY_S, isolation_level=None, check_same_thread=False
        )

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple]:
        return self.connection.execute(sql, values).fetchall()

    def scan(self, columns: str, table: str) -> Iterator[list[tuple]]:
        first, last = self.rows(f"SELECT min(rowid), max(rowid) FROM {table}")[0]
        for start in range(first, last + 1, ROWS) if first is not None else ():
            yield self.rows(f"SELECT {columns} FROM {table} WHERE rowid BETWEEN ? AND ?", (start, start + ROWS - 1))

    def array(self, values: list[str]) -> str:
        return json.dumps(values)

    def has_table(self, name: str) -> bool:
        return bool(self.rows("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = ?", (name,)))

    def close(self) -> None:
        self.connection.close()


class Postgres(Database):
    """One read-only transaction that sees one state; writers do not wait for it."""

    any_of = "= ANY(%s)"

    def __init__(self, address: str) -> None:
        import psycopg

        self.error = psycopg.Error
        self.connection = psycopg.connect(address, connect_timeout=PATIENCE_S)
        self.connection.read_only = True
        self.connection.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ

    def rows(self, sql: str, values: tuple[Any, ...] = ()) -> list[tuple]:
        return self.connection.execute(sql, values or None).fetchall()

    def scan(self, columns: str, table: str) -> Iterator[list[tuple]]:
        with self.connection.cursor(name="hsray") as cursor:
            cursor.execute(f"SELECT {columns} FROM {table}")
            while rows := cursor.fetchmany(ROWS):
                yield rows

    def array(self, values: list[str]) -> list[str]:
        return values

    def has_table(self, name: str) -> bool:
        return self.rows("SELECT to_regclass(%s)", (name,))[0][0] is not None

    def close(self) -> None:
        self.connection.close()


def has_psycopg() -> bool:
    try:
        import psycopg  # noqa: F401
    except ImportError:  # also where it finds no library of PostgreSQL's
        return False
    return True


def open_database(address: Address) -> closing[Database]:
    """Of an address that has one, `sqlite:///` or `postgresql://`.

    Raises:
        RequestError: it is not there or does not answer.
    """
    if path := address.sqlite:
        import sqlite3

        if not path.is_file():
            what = "there is no MLflow store"
            raise RequestError(what, where=address.name, do="run a sweep first, or name another store")
        try:
            return closing(Sqlite(path))
        except sqlite3.Error as error:
            raise unreadable(error, address) from None
    import psycopg

    assert address.postgres is not None
    try:
        return closing(Postgres(address.postgres))
    except psycopg.Error as error:
        raise unreadable(error, address) from None


def unreadable(error: Exception, address: Address) -> RequestError:
    return RequestError(
        f"MLflow's database cannot be read: {brief(error, address.uri)}",
        where=address.name,
        do="look whether the database runs and is whole, and whether you may read it",
    )
