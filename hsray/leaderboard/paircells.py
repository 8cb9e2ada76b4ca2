"""The cells that are compared, and how `strategy@axis=value` picks among them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

import polars as pl

from hsray.axes import axis_name
from hsray.errors import RequestError
from hsray.leaderboard.chosen import CELL, Chosen


@dataclass(frozen=True)
class PairCell:
    """A cell with complete finals. `axes` hold names; `scores` in percent and `run_ids` are by seed."""

    dataset: str
    fraction: str
    variant: str
    name: str
    axes: dict[str, str]
    contaminated: bool
    mark: str
    scores: dict[str, dict[int, float]]
    run_ids: dict[int, str]


def pair_cells(chosen: Chosen, metrics: Sequence[str]) -> tuple[list[PairCell], list[str]]:
    """The cells that have complete finals, and notes on the finals left out."""
    finals, notes = chosen.finals(metrics)
    several = finals["experiment"].n_unique() > 1
    cells = []
    first = ("dataset", "fraction", "variant", "axes", "strategy", "cell_name", "contaminated", "mark")
    grouped = finals.group_by(*CELL, maintain_order=True).agg(
        *(pl.col(name).first() for name in first), "seed", "run_id", *metrics
    )
    for row in grouped.iter_rows(named=True):
        axes = {name: axis_name(value) for name, value in json.loads(row["axes"]).items()}
        axes |= {"dataset": row["dataset"], "strategy": row["strategy"], "fraction": row["fraction"]}
        if several:
            axes["experiment"] = row["experiment"]
        scores = {metric: dict(zip(row["seed"], row[metric], strict=True)) for metric in metrics}
        run_ids = dict(zip(row["seed"], row["run_id"], strict=True))
        described = (row["dataset"], row["fraction"], row["variant"], row["cell_name"])
        cells.append(PairCell(*described, axes, row["contaminated"], row["mark"], scores, run_ids))
    return cells, notes


def select_cells(cells: list[PairCell], text: str) -> tuple[list[PairCell], set[str]]:
    """The cells that `strategy@axis=value` means, and the axes it names. Raises RequestError where there are none."""
    strategy, _, conditions = text.partition("@")
    found = [cell for cell in cells if cell.axes["strategy"] == strategy]
    if not found:
        names = ", ".join(sorted({cell.axes["strategy"] for cell in cells})) or "none"
        raise RequestError(
            f"'{strategy}' has no complete finals", where="--compare", do=f"strategies with finals: {names}"
        )
    named = set()
    for condition in conditions.split(",") if conditions else []:
        axis, equals, value = condition.partition("=")
        known = sorted({name for cell in found for name in cell.axes} - {"strategy"})
        if not equals or axis not in known:
            raise RequestError(
                f"'{condition}' names no axis of {strategy}", where="--compare", do=f"axes: {', '.join(known)}"
            )
        values = sorted({cell.axes[axis] for cell in found if axis in cell.axes})
        found = [cell for cell in found if axis in cell.axes and _same(axis, cell.axes[axis], value)]
        if not found:
            raise RequestError(
                f"{strategy} has no finals with {axis} {value}", where="--compare", do=f"there are: {', '.join(values)}"
            )
        named.add(axis)
    return found, named


def _same(axis: str, value: str, asked: str) -> bool:
    if axis != "fraction":
        return value == asked
    percent = value.removesuffix(" %")
    if percent.startswith("official"):
        return asked in (value, percent.replace("official ", "official:"))
    try:
        return f"{100 * float(asked):g}" == percent
    except ValueError:
        return asked.replace(" ", "") == f"{percent}%"


def agree(a: PairCell, b: PairCell, free: set[str]) -> bool:
    """Have the two the same values on all axes that both have, but for the strategy and the free ones?"""
    shared = (set(a.axes) & set(b.axes)) - free - {"strategy"}
    return all(a.axes[axis] == b.axes[axis] for axis in shared)
