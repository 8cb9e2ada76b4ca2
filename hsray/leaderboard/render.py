"""The comparison in the formats people and programs read."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from hsray.leaderboard.board_sheets import View, arranged, board_sheets
from hsray.leaderboard.formats.data import as_csv, as_parquet, dump
from hsray.leaderboard.published import against_published
from hsray.leaderboard.runs import load
from hsray.leaderboard.sheet import FORMATS, Sheet, checked, render_sheets
from hsray.leaderboard.table import Board, table

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
    """The rows; where all cells search the fraction, their fronts. Notes do not fit into a frame."""
    rows = board.rows if len(board.rows) or not len(board.fronts) else board.fronts
    return rows.drop([name for name in INTERNAL if name in rows.columns])


def _public(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("official", "task", "mark")}
