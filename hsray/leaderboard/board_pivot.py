"""One metric of the board with the values of an axis as columns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import polars as pl

from hsray.leaderboard.board_groups import comparable, grouped
from hsray.leaderboard.sheet import Column, Sheet


def pivoted(
    rows: pl.DataFrame, axis: str, metric: str, heading: str, names: Sequence[str], group_by: Sequence[str]
) -> list[Sheet]:
    """A sheet for every combination of `group_by` (less the axis): rows by the other names, columns by the axis."""
    groups = [name for name in group_by if name != axis]
    follows = {axis, "family"} if axis == "strategy" else {axis}
    index = [name for name in names if name not in {*groups, *follows}]
    index.sort(key=lambda name: name != "strategy")
    found = []
    for where, of_group in grouped(rows, groups):
        title = f"{where}{': ' if where else ''}{heading} (percent) by {axis}"
        found.append(_sheet(title, of_group, axis, metric, index))
    return found


def _sheet(title: str, rows: pl.DataFrame, axis: str, metric: str, index: list[str]) -> Sheet:
    values = _values(rows, axis)
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    twice = 0
    for row in rows.iter_rows(named=True):
        line = lines.setdefault(tuple(row[name] for name in index), {name: row[name] for name in index})
        value = str(row[axis])
        twice += value in line
        line |= {
            f"{value}": row[metric], f"{value} low": row[f"{metric}_low"], f"{value} high": row[f"{metric}_high"],
            f"{value} mark": row["mark"], f"{value} ranked": not row["contaminated"],
        }  # fmt: skip
    schema: dict[str, Any] = dict.fromkeys(index, pl.String)
    for value in values:
        schema |= dict.fromkeys((f"{value}", f"{value} low", f"{value} high"), pl.Float64)
        schema |= {f"{value} mark": pl.String, f"{value} ranked": pl.Boolean}
    frame = pl.DataFrame(list(lines.values()), schema=schema)
    columns = [Column(name, name, align="left") for name in index]
    # A column holds one value of the axis: with strategies as columns, its best would be the easiest row.
    best: Literal["high"] | None = "high" if axis != "strategy" and comparable(rows, axis) else None
    columns += [
        Column(
            value, value, decimals=2, best=best, ends=(f"{value} low", f"{value} high"),
            mark=f"{value} mark", ranked=f"{value} ranked",
        )
        for value in values
    ]  # fmt: skip
    notes = [f"{twice} cells share these names with another, and only the last is shown"] if twice else []
    return Sheet(title, frame, tuple(columns), tuple(notes))


def _values(rows: pl.DataFrame, axis: str) -> list[str]:
    """The axis' values as columns: fractions and numbers by size, names by the alphabet."""
    if axis == "fraction":
        ordered = rows.select("fraction", "official", "fraction_percent").unique()
        return ordered.sort("official", "fraction_percent")["fraction"].to_list()
    values = [str(one) for one in rows[axis].unique().to_list()]
    return sorted(values, key=lambda one: (0, float(one), "") if _is_number(one) else (1, 0.0, one))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
