"""Markdown tables: best bold, intervals as ±, notes as a list below."""

from __future__ import annotations

import re
from collections.abc import Sequence

from hsray.leaderboard.formats.cells import Cell, columns_of_cells, heading
from hsray.leaderboard.sheet import Sheet


def as_markdown(sheets: Sequence[Sheet]) -> str:
    parts = [_table(sheet) for sheet in sheets]
    return "\n\n".join(parts)


def _table(sheet: Sheet) -> str:
    lines = [f"**{_escaped(sheet.title)}**", ""] if sheet.title else []
    if sheet.columns:
        lines += [_bar(_escaped(heading(column)) for column in sheet.columns)]
        lines += [_bar("---" if column.align == "left" else "---:" for column in sheet.columns)]
        lines += [_bar(map(_dressed, cells)) for cells in zip(*columns_of_cells(sheet), strict=True)]
    if sheet.notes:
        lines += ["" if lines and lines[-1] else None, *(f"- {_escaped(note)}" for note in sheet.notes)]  # type: ignore[list-item]
    return "\n".join(line for line in lines if line is not None)


def _dressed(cell: Cell) -> str:
    text = _escaped(cell.plain)
    return f"**{text}**" if cell.place == 1 else text


def _escaped(text: str) -> str:
    """Nothing in a name ends a cell, opens a tag or changes the type; underscores within words do neither."""
    text = re.sub(r"\s+", " ", text)
    return re.sub(r"([\\|*`<\[\]])|(?<![^\W_])_|_(?![^\W_])", lambda found: "\\" + found[0], text)


def _bar(cells) -> str:
    return f"| {' | '.join(cells)} |"
