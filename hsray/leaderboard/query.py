"""Questions in SQL over the mirror. They read its tables and nothing else."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NoReturn

import polars as pl

from hsray.errors import RequestError
from hsray.leaderboard.sheet import Column, Sheet

if TYPE_CHECKING:
    from hsray.leaderboard.mirror import Mirror

ROWS = 200  # more on a terminal nobody reads
TABLES = ("runs", "metrics", "params", "tags")
ALLOWED = "write one SELECT (or WITH … SELECT, EXPLAIN SELECT, SHOW TABLES) over the tables runs, metrics, params, tags"
_SKIPPED = re.compile(r"(?:[\s(]|--[^\n]*(?:\n|$)|/\*.*?\*/)+", re.DOTALL)
_STARTS = re.compile(r"(?:SELECT|WITH|SHOW\s+TABLES|EXPLAIN\s+(?:SELECT|WITH))\b", re.IGNORECASE)
# polars' SQL can open files by such table functions, whose name may even be quoted. Identifiers know no escapes, so
# the name stands in the text as it is, and a text without it calls none.
_FILE_FUNCTION = re.compile(r"(?<!\w)(?:read|scan)_\w+", re.IGNORECASE)


def query(mirror: Mirror, sql: str, limit: int | None = None) -> Sheet:
    """The answer to one SQL statement, in polars' dialect. Scores in the tables are fractions of one, times in seconds.

    Of more than `limit` rows only the first are kept, and a note counts the others.

    Raises:
        RequestError: the statement writes, opens files, does not parse, or names what is not there.
    """
    _check(sql)
    tables = {name: getattr(mirror, name)() for name in TABLES}
    try:
        answer = pl.SQLContext(tables, eager=False, register_globals=False).execute(sql).collect()
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        _explain(error, tables, sql)
    notes = ["scores are fractions of one, times seconds; from the mirror as it was last synced"]
    if limit is not None and len(answer) > limit:
        notes.append(
            f"{len(answer) - limit:,} of {len(answer):,} rows are not shown; add LIMIT or ask for --format csv"
        )
        answer = answer.head(limit)
    columns = tuple(
        Column(name, name, align="right" if dtype.is_numeric() else "left") for name, dtype in answer.schema.items()
    )
    return Sheet("query", answer, columns, tuple(notes))


def _check(sql: str) -> None:
    start = _SKIPPED.match(sql)
    text = sql[start.end() :] if start else sql
    if not text.strip():
        raise RequestError("the query is empty", where="--query", do=ALLOWED)
    if not _STARTS.match(text):
        first = re.split(r"[\s;(]", text, maxsplit=1)[0][:40]
        raise RequestError(f"a query only reads; it cannot start with '{first}'", where="--query", do=ALLOWED)
    if found := _FILE_FUNCTION.search(sql):
        raise RequestError(
            f"a query reads the mirror and no other files, so '{found[0][:40]}' may not stand in it",
            where="--query",
            do=ALLOWED,
        )


def _explain(error: BaseException, tables: dict[str, pl.LazyFrame], sql: str) -> NoReturn:
    """polars' first line says what is wrong; its plan, which follows, helps nobody here."""
    what = str(error).strip().split("\n")[0][:300]
    do = ALLOWED
    if relation := re.match(r"relation '(.*)' was not found", what):
        what = f"there is no table '{relation[1]}'"
        do = f"the tables are {', '.join(TABLES)}"
    elif column := re.match(r'unable to find column "(.*?)"|no column named \'(.*?)\'', what):
        what = f"there is no column '{column[1] or column[2]}'"
        named = [name for name in TABLES if re.search(rf"\b{name}\b", sql, re.IGNORECASE)] or list(TABLES)
        do = "; ".join(f"{name} has {', '.join(tables[name].collect_schema().names())}" for name in named)
    elif "one (and only one) statement" in what:
        what = "a query is one statement"
    elif parser := re.match(r"sql parser error: (.*)", what):
        what = f"the query cannot be understood: {parser[1]}"
    else:
        what = f"the query cannot be answered: {what}"
    raise RequestError(what, where="--query", do=do) from None
