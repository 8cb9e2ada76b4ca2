"""What a sheet's cells say, before any format dresses them."""

from __future__ import annotations

import json
import math
from typing import Any, NamedTuple

from hsray.leaderboard.sheet import Column, Sheet

NOTHING = "–"


class Cell(NamedTuple):
    """A value as text; its interval's half ("1.90",) or, where they differ by more than rounding, upper and lower one
    ("1.90", "2.10"); a footnote sign; and its place: 1 the best of its sheet, 2 the next, 0 any other.
    """

    value: str
    halves: tuple[str, ...] = ()
    mark: str = ""
    place: int = 0

    @property
    def plain(self) -> str:
        if not self.halves:
            spread = ""
        elif len(self.halves) == 1:
            spread = f" ± {self.halves[0]}"
        else:
            spread = f" +{self.halves[0]} −{self.halves[1]}"
        return f"{self.value}{spread}{f' {self.mark}' if self.mark else ''}"


def heading(column: Column) -> str:
    duration = column.unit == "s" and column.decimals is None
    return column.heading if duration or not column.unit else f"{column.heading} {column.unit}"


def columns_of_cells(sheet: Sheet) -> list[list[Cell]]:
    """The cells of every shown column, from the first row to the last."""
    return [_column(sheet, column) for column in sheet.columns]


def _column(sheet: Sheet, column: Column) -> list[Cell]:
    values = sheet.frame[column.name].to_list()
    texts = [value_text(value, column) for value in values]
    halves = _halves(sheet, column, values) if column.ends else [()] * len(values)
    marks = [mark or "" for mark in sheet.frame[column.mark].to_list()] if column.mark else [""] * len(values)
    return [Cell(*parts) for parts in zip(texts, halves, marks, _places(sheet, column, values), strict=True)]


def value_text(value: Any, column: Column) -> str:
    if value is None or (isinstance(value, float) and not math.isfinite(value)):
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        if column.decimals is not None:
            return f"{value:{'+' if column.signed else ''}.{column.decimals}f}"
        if column.unit == "s":
            return duration(value)
        return f"{value:g}" if isinstance(value, float) else str(value)
    return json.dumps(value, default=str) if isinstance(value, dict | list) else str(value)


def duration(seconds: float) -> str:
    """Seconds in words: <1 s, 38 s, 12 min, 2.4 h."""
    if not seconds:
        return NOTHING
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "<1 s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def _halves(sheet: Sheet, column: Column, values: list[Any]) -> list[tuple[str, ...]]:
    lows, highs = (sheet.frame[name].to_list() for name in column.ends or ())
    digits = column.decimals if column.decimals is not None else 2
    found: list[tuple[str, ...]] = []
    for value, low, high in zip(values, lows, highs, strict=True):
        if value is None or low is None or high is None or not math.isfinite(high - low):
            found.append(())
            continue
        upper, lower = round(high - value, digits), round(value - low, digits)
        alike = abs(upper - lower) < 1.5 * 10**-digits  # one in the last place is rounding
        halves = (max(upper, lower),) if alike else (upper, lower)
        found.append(tuple(f"{half:.{digits}f}" for half in halves))
    return found


def _places(sheet: Sheet, column: Column, values: list[Any]) -> list[int]:
    """Values that are printed alike share a place, so that no reader sees one of two equal figures marked."""
    if column.best is None:
        return [0] * len(values)
    named = column.ranked or sheet.ranked
    ranked = sheet.frame[named].to_list() if named else [True] * len(values)
    digits = column.decimals if column.decimals is not None else 12
    seen = [
        round(value, digits) if rank and value is not None and math.isfinite(value) else None
        for value, rank in zip(values, ranked, strict=True)
    ]
    known = [value for value in seen if value is not None]
    if len(known) < 2:
        return [0] * len(values)
    order = sorted(set(known), reverse=column.best == "high")[:2]
    return [order.index(value) + 1 if value in order else 0 for value in seen]
