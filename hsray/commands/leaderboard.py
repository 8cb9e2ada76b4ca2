"""What `hsray leaderboard` does and prints."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from hsray.commands.asked import Asked, checked_format
from hsray.errors import RequestError

if TYPE_CHECKING:
    import polars as pl

    from hsray.leaderboard.mirror import Mirror
    from hsray.leaderboard.sheet import Sheet

Render = Callable[[int, bool], str | bytes]
NOT_FETCHED = "confusion matrices that the mirror has no copy of are not fetched with --no-sync"


def show_leaderboard(asked: Asked) -> None:
    """Sync, select, compute, print.

    Raises:
        RequestError, HsrayError: MLflow does not answer, a name is not there, a file is in the way, the mirror is
            damaged.
    """
    from hsray.leaderboard.formats.output import write_out

    format = checked_format(asked)
    notes = _sync(asked) if asked.sync else []
    if not asked.mirror.exists() and not asked.sync:
        raise RequestError("there is no mirror yet", where=str(asked.mirror), do="leave out --no-sync, or name another")
    from hsray.leaderboard.mirror import Mirror

    mirror = Mirror(asked.mirror, offline=not asked.sync, uri=asked.uris)
    render, untold = _answer(asked, mirror, format, notes)
    write_out(render, asked.out)
    for note in untold:
        print(note, file=sys.stderr)
    if asked.picture is not None:
        from hsray.leaderboard.figure import figure

        figure(asked.experiments[0], asked.uris[0], asked.picture, _runs(asked, mirror)[0])


def _sync(asked: Asked) -> list[str]:
    from hsray.leaderboard.mirror import sync

    notes = []
    for uri in asked.uris:
        done = sync(asked.mirror, uri, asked.experiments, full=asked.full, lacking_ok=len(asked.uris) > 1)
        notes += done.notes
        if done.read or done.removed:
            removed = f", {done.removed} removed" if done.removed else ""
            print(f"{asked.mirror}: {done.read} runs read from {done.source}{removed}", file=sys.stderr)
    return notes


def _answer(asked: Asked, mirror: Mirror, format: str, notes: list[str]) -> tuple[Render, list[str]]:
    """What is written, and the notes that its format has no place for."""
    from hsray.leaderboard.render import FRAMES, notes_of
    from hsray.leaderboard.sheet import render_sheets, to_parquet

    if asked.query is None and not asked.of_runs:
        return _board(asked, mirror, format, notes)
    if asked.query is not None:
        from hsray.leaderboard.query import ROWS, query

        on_terminal = format == "table" and asked.out is None and sys.stdout.isatty()
        sheets = [query(mirror, asked.query, limit=ROWS if on_terminal else None)]
    else:
        runs, left_out = _runs(asked, mirror)
        sheets = _of_runs(asked, mirror, runs)
        notes = [*notes, *left_out, *([NOT_FETCHED] if asked.compare and not asked.sync else [])]
    if sheets:
        sheets[-1] = replace(sheets[-1], notes=(*sheets[-1].notes, *notes))
    untold = notes_of(sheets) if format in FRAMES else []
    if format == "parquet":
        return lambda width, colour: to_parquet(sheets), untold
    return lambda width, colour: render_sheets(sheets, format, width=width, colour=colour), untold


def _board(asked: Asked, mirror: Mirror, format: str, notes: list[str]) -> tuple[Render, list[str]]:
    from hsray.leaderboard.board_sheets import GROUPS, View
    from hsray.leaderboard.confusions import confusions_of
    from hsray.leaderboard.render import rendered, untold
    from hsray.leaderboard.table import table

    runs, left_out = _runs(asked, mirror)
    confusions = confusions_of(mirror) if asked.interval != "seeds" else None
    board = table(runs, interval=asked.interval, confusions=confusions)
    if asked.published:
        from hsray.leaderboard.published import against_published

        board = against_published(board)
    if asked.interval != "seeds" and not asked.sync:
        notes = [*notes, NOT_FETCHED]
    board = replace(board, notes=[*board.notes, *left_out, *notes])
    view = View(asked.metric, tuple(asked.group_by) or GROUPS, asked.sort, asked.pivot)
    return lambda width, colour: rendered(board, format, view, width=width, colour=colour), untold(board, format, view)


def _runs(asked: Asked, mirror: Mirror) -> tuple[pl.DataFrame, list[str]]:
    """The runs that are looked at, and notes on the others."""
    from hsray.leaderboard.selection import Condition, experiments_of, select

    conditions = [Condition.parse(text) for text in asked.where]
    single, twice = experiments_of(mirror, asked.experiments)
    chosen, left_out = select(single, conditions, mirror)
    return chosen, [*left_out, *twice]


def _of_runs(asked: Asked, mirror: Mirror, runs: pl.DataFrame) -> list[Sheet]:
    sheets: list[Sheet] = []
    if asked.compare:
        from hsray.leaderboard.compare import compare
        from hsray.leaderboard.confusions import confusions_of

        sheets += compare(runs, *asked.compare, confusions_of(mirror), [asked.metric])
    if asked.curve:
        from hsray.leaderboard.curves import curves

        sheets += curves(runs, asked.metric)
    if asked.overall:
        from hsray.leaderboard.overall import overall

        sheets += overall(runs, asked.metric)
    if asked.cost:
        from hsray.leaderboard.cost import costs

        sheets += costs(runs, asked.metric)
    if asked.importance:
        from hsray.leaderboard.importance import importance

        sheets += importance(runs, mirror.params())
    return sheets
