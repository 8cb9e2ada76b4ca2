"""Sheets as HTML tables by great-tables. Their look is the page's own style, which knows dark, light and paper."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape

import polars as pl

from hsray.leaderboard.formats.cells import Cell, columns_of_cells, heading
from hsray.leaderboard.sheet import Sheet

LONG = 36  # characters; longer texts go over several lines
_TABLE = re.compile(r"<table.*</table>", re.DOTALL)
_OF_NO_USE = re.compile(r' (?:headers|id|aria-labelledby|rowspan|colspan|data-quarto-[a-z-]+)="[^"]*"')


def sheet_html(sheet: Sheet, *, title: str | None = None) -> str:
    """A heading, the table in a box that scrolls by itself, and the notes below. `title` instead of the sheet's."""
    name = sheet.title if title is None else title
    parts = [f"<h3>{escape(name)}</h3>"] if name else []
    if sheet.columns and len(sheet.frame):
        cells = [[_dressed(cell) for cell in column] for column in columns_of_cells(sheet)]
        sides = [column.align for column in sheet.columns]
        parts.append(table_html([escape(heading(column)) for column in sheet.columns], cells, sides, name))
    return "\n".join([*parts, notes_html(sheet.notes)])


def table_html(headings: Sequence[str], columns: Sequence[Sequence[str]], sides: Sequence[str], name: str) -> str:
    """A table of finished HTML: `headings`, and the cells column by column; `sides` are left or right."""
    from great_tables import GT, html

    names = [f"c{number}" for number in range(len(headings))]
    frame = pl.DataFrame(dict(zip(names, map(list, columns), strict=True)), schema=dict.fromkeys(names, pl.String))
    shown = GT(frame, id="t").fmt(lambda text: text, columns=names)
    shown = shown.cols_label({one: html(text) for one, text in zip(names, headings, strict=True)})
    for side in ("left", "right"):
        if chosen := [one for one, of in zip(names, sides, strict=True) if of == side]:
            shown = shown.cols_align(side, columns=chosen)
    found = _TABLE.search(shown.as_raw_html())
    assert found is not None
    # Its own style sheet is for light pages alone, and repeats itself with every table.
    table = _OF_NO_USE.sub("", found[0])
    wide = " wide" if len(headings) > 8 else ""
    return f'<div class="scroll{wide}" role="region" aria-label="{escape(name or "table")}" tabindex="0">{table}</div>'


def notes_html(notes: Sequence[str]) -> str:
    return f'<ul class="notes">{"".join(f"<li>{escape(note)}</li>" for note in notes)}</ul>' if notes else ""


def _dressed(cell: Cell) -> str:
    value = escape(cell.value)
    if len(cell.value) > LONG:
        value = f'<span class="long">{value}</span>'
    value = {1: f"<strong>{value}</strong>", 2: f"<u>{value}</u>"}.get(cell.place, value)
    if len(cell.halves) == 1:
        value += f' <span class="spread">± {cell.halves[0]}</span>'
    elif cell.halves:
        value += f' <span class="spread">+{cell.halves[0]} −{cell.halves[1]}</span>'
    return value + (f"<sup>{escape(cell.mark)}</sup>" if cell.mark else "")
