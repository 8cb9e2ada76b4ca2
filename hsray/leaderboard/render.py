"""The comparison in the formats people and programs read."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Any

import polars as pl

from hsray.leaderboard.board_sheets import View, arranged, board_sheets
from hsray.leaderboard.formats.data import as_csv, as_parquet, dump
from hsray.leaderboard.published import against_published
from hsray.leaderboard.runs import load
from hsray.leaderboard.sheet import FORMATS, Sheet, checked, render_sheets
from hsray.leaderboard.table import Board, table

FRAMES = ("csv", "parquet")  # formats that hold one frame and nothing besides
INTERNAL = ("official", "axes", "cell", "task", "mark")


def print_table(experiment: str, uri: str, format: str = "table", *, published: bool = False) -> None:
    """Print the comparison of an experiment, read from MLflow itself, with `published` beside published figures.

    Raises:
        RequestError: MLflow does not answer, has no such experiment, or the format is not known.
    """
    from hsray.leaderboard.formats.output import write_out

    board = table(load(experiment, uri))
    if published:
        board = against_published(board)
    write_out(lambda width, colour: rendered(board, format, width=width, colour=colour), None)
    for note in untold(board, format):
        print(note, file=sys.stderr)


def render(board: Board, format: str = "table", view: View | None = None) -> str:
    """The comparison as text, `table` 160 characters wide. Scores are in percent, times in seconds.

    Raises:
        RequestError: the format is not known, or no text.
    """
    text = rendered(board, checked(format, [name for name in FORMATS if name != "parquet"]), view)
    return text.decode() if isinstance(text, bytes) else text


def rendered(
    board: Board, format: str, view: View | None = None, *, width: int = 160, colour: bool = False
) -> str | bytes:
    """As `render`; Parquet as bytes.

    Raises:
        RequestError: the format is not known, or the view names a column that is not there.
    """
    view = view or View()
    if format in ("json", "csv", "parquet") and not view.pivot:
        board = arranged(board, view)
        if format == "json":
            return _as_json(board)
        whole = [Sheet("", _frame(board), ())]
        return as_csv(whole) if format == "csv" else as_parquet(whole)
    brief = View(view.metric, view.group_by, view.sort, view.pivot, brief=format == "latex")
    sheets = board_sheets(board, brief)
    return as_parquet(sheets) if format == "parquet" else render_sheets(sheets, format, width=width, colour=colour)


def untold(board: Board, format: str, view: View | None = None) -> list[str]:
    """What a reader must know and this format of the board, or of its pivot, has no place for: CSV and Parquet."""
    if format not in FRAMES:
        return []
    if view and view.pivot:
        return notes_of(board_sheets(board, view))
    fronts = len(board.fronts) if len(board.rows) else 0
    where = f"{fronts} {'row' if fronts == 1 else 'rows'} of Pareto fronts not in {format}: --format json has them"
    return [*board.notes, *([where] if fronts else [])]


def notes_of(sheets: Sequence[Sheet]) -> list[str]:
    """All notes, each once."""
    return list(dict.fromkeys(note for sheet in sheets for note in sheet.notes))


def _as_json(board: Board) -> str:
    return dump(
        {
            "experiment": board.experiment,
            "experiments": board.experiments,
            "scores": "percent",
            "rows": [{**_public(row), "axes": json.loads(row["axes"])} for row in board.rows.iter_rows(named=True)],
            "fronts": list(board.fronts.iter_rows(named=True)),
            "notes": board.notes,
        }
    )


def _frame(board: Board) -> pl.DataFrame:
    """The rows; where all cells search the fraction, their fronts. `untold` says what does not fit into a frame."""
    rows = board.rows if len(board.rows) or not len(board.fronts) else board.fronts
    return rows.drop([name for name in INTERNAL if name in rows.columns])


def _public(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("official", "task", "mark")}
