"""Tables for a terminal. Written here and not by rich, which takes seconds over a few thousand rows."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from hsray.leaderboard.formats.cells import Cell, columns_of_cells, heading
from hsray.leaderboard.sheet import Sheet

GAP = 2
BOLD, DIM, UNDERLINED, END = "\033[1m", "\033[2m", "\033[4m", "\033[0m"


def as_text(sheets: Sequence[Sheet], width: int, *, colour: bool) -> str:
    """The sheets one below the other. Columns that do not fit into the width go on in a further table, which repeats
    as many of the names at the left as tell its rows apart; notes are broken between words."""
    blocks = []
    for sheet in sheets:
        tables = _tables(sheet, width, colour) if sheet.columns else [_dress(sheet.title, BOLD, colour)]
        blocks += [table for table in tables if table]
        if sheet.notes:
            blocks.append("\n".join(_dress(line, DIM, colour) for note in sheet.notes for line in _note(note, width)))
    return "\n\n".join(blocks)


def _tables(sheet: Sheet, width: int, colour: bool) -> list[str]:
    cells = columns_of_cells(sheet)
    texts = [[_clean(cell.plain) for cell in column] for column in cells]
    headings = [_clean(heading(column)) for column in sheet.columns]
    widths = [max([length(head), *map(length, column)]) for head, column in zip(headings, texts, strict=True)]
    tables = []
    for number, places in enumerate(_parts(sheet, texts, widths, width)):
        title = sheet.title if not number else "the same, further columns"
        lines = [_dress(_clean(title), BOLD, colour)] if title else []
        gap = " " * GAP
        head = gap.join(_padded(headings[at], widths[at], sheet.columns[at].align) for at in places)
        lines.append(_dress(head.rstrip(), BOLD, colour))
        for row in range(sheet.frame.height):
            parts = [
                _dress_cell(texts[at][row], cells[at][row], widths[at], sheet.columns[at].align, colour)
                for at in places
            ]
            lines.append(gap.join(parts).rstrip())
        tables.append("\n".join(lines))
    return tables


def _parts(sheet: Sheet, texts: list[list[str]], widths: list[int], width: int) -> list[list[int]]:
    """Which columns stand in which table. The leading left-aligned ones are names."""
    names = 0
    while names < len(widths) and sheet.columns[names].align == "left":
        names += 1
    if _taken(widths) <= width or names == len(widths):
        return [list(range(len(widths)))]
    repeated = _telling(texts[:names], sheet.frame.height)
    parts = [list(range(repeated))]
    for at in range(repeated, len(widths)):
        if len(parts[-1]) > repeated and _taken([widths[one] for one in (*parts[-1], at)]) > width:
            parts.append(list(range(repeated)))
        parts[-1].append(at)
    return parts


def _telling(names: list[list[str]], rows: int) -> int:
    """How many of the first columns tell all rows apart."""
    for count in range(1, len(names)):
        if len(set(zip(*names[:count], strict=True))) == rows:
            return count
    return len(names)


def _taken(widths: Sequence[int]) -> int:
    return sum(widths) + GAP * (len(widths) - 1)


def _dress_cell(text: str, cell: Cell, width: int, align: str, colour: bool) -> str:
    dressed = _dress(text, {1: BOLD, 2: UNDERLINED}.get(cell.place, ""), colour)
    space = " " * (width - length(text))
    return dressed + space if align == "left" else space + dressed


def _padded(text: str, width: int, align: str) -> str:
    space = " " * (width - length(text))
    return text + space if align == "left" else space + text


def _dress(text: str, code: str, colour: bool) -> str:
    return f"{code}{text}{END}" if colour and code and text else text


def length(text: str) -> int:
    """Columns of a terminal that the text takes."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in text
    )


def _clean(text: str) -> str:
    """Control characters, which could move the cursor or set the terminal's title, are shown and not sent."""
    return text if text.isprintable() else "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def _note(note: str, width: int) -> list[str]:
    lines, line = [], "·"
    for word in _clean(" ".join(note.split())).split(" "):
        if length(line) + 1 + length(word) > width and line.strip("· "):
            lines.append(line)
            line = " "
        line += f" {word}"
    return [*lines, line]
