"""What a label buys: score against the fraction of training images, and the fraction that matches another's score."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from hsray.leaderboard import statistics
from hsray.leaderboard.chosen import CELL, CONTAMINATED, METRIC_NAMES, Runs, choose, seed_of
from hsray.leaderboard.curve_sheets import STRATEGY, area_sheet, match_sheet
from hsray.leaderboard.sheet import Column, Sheet

CURVE_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("dataset", "variant", "strategy", "family", "fraction"), pl.String),
    "fraction_percent": pl.Float64,
    "official": pl.Boolean,
    "labelled_images": pl.Float64,
    **dict.fromkeys(("score", "low", "high"), pl.Float64),
    "method": pl.String,
    "seeds": pl.Int64,
    "contaminated": pl.Boolean,
    "ranked": pl.Boolean,
    "mark": pl.String,
}


def curves(runs: Runs, metric: str = "jaccard_macro") -> list[Sheet]:
    """For every dataset: the score (percent) at each fraction with its interval over seeds; where there are several
    fractions, the mean height of the curve over log2 of the fraction, and the fraction (percent) at which a strategy's
    curve reaches what another scores with the most labels.
    """
    chosen = choose(runs)
    finals, notes = chosen.finals([metric])
    points, by_seed = _points(finals, metric)
    name = METRIC_NAMES[metric]
    below = (*notes, *chosen.notes)
    if points.is_empty():
        return [Sheet(f"{name} against fraction", points, (), ("no final is complete", *below))]
    sheets = []
    for (dataset,), of_dataset in points.group_by("dataset", maintain_order=True):
        said = [CONTAMINATED] if of_dataset["contaminated"].any() else []
        sheets.append(_curve_sheet(f"{dataset}: {name} against fraction", name, of_dataset, said))
        for official in (False, True):
            lines = _lines(of_dataset, official=official)
            if lines:
                title = f"{dataset}{', official subsets' if official else ''}"
                sheets.append(area_sheet(title, metric, lines, by_seed, said))
                sheets.append(match_sheet(title, name, lines, said))
    last = sheets[-1]
    sheets[-1] = Sheet(last.title, last.frame, last.columns, (*last.notes, *below), last.ranked)
    return sheets


def _points(finals: pl.DataFrame, metric: str) -> tuple[pl.DataFrame, dict[tuple[str, str, str], dict[int, float]]]:
    """One row a cell; and the scores by seed of (dataset, variant, fraction)."""
    first = ("dataset", "variant", "strategy", "family", "fraction", "fraction_percent", "official")
    cells = finals.group_by(*CELL, maintain_order=True).agg(
        *(pl.col(name).first() for name in (*first, "contaminated", "mark", "cell_name")),
        pl.col("labelled_images").mean(),
        "seed",
        pl.col(metric).alias("scores"),
    )
    rows, by_seed = [], {}
    for cell in cells.iter_rows(named=True):
        # One seed for all cells, which then share the draws; the board's, so that the intervals are the same.
        interval = statistics.seed_interval(cell["scores"], seed=seed_of("seeds", metric))
        by_seed[cell["dataset"], cell["variant"], cell["fraction"]] = dict(
            zip(cell["seed"], cell["scores"], strict=True)
        )
        rows.append(
            {
                **{name: cell[name] for name in (*first, "contaminated", "mark", "labelled_images")},
                "score": float(np.mean(cell["scores"])),
                "low": interval.low if interval else None,
                "high": interval.high if interval else None,
                "method": interval.method if interval else None,
                "seeds": len(cell["scores"]),
                "ranked": not cell["contaminated"],
            }
        )
    points = pl.DataFrame(rows, schema=CURVE_SCHEMA)
    return points.sort("dataset", "variant", "official", "fraction_percent"), by_seed


def _lines(points: pl.DataFrame, *, official: bool) -> dict[str, list[dict[str, Any]]]:
    """The points of each strategy's curve of at least two, by rising fraction.

    Official subsets make a curve of their own, which ends at all images as the other does.
    """
    wanted = (pl.col("official") == official) | (pl.col("fraction_percent") == 100)
    own = points.filter(wanted).sort("variant", "fraction_percent", "official")
    rows = own.unique(["variant", "fraction_percent"], keep="first", maintain_order=True).iter_rows(named=True)
    found = {variant: list(line) for variant, line in itertools.groupby(rows, key=lambda row: row["variant"])}
    return {
        variant: line
        for variant, line in found.items()
        if len(line) > 1 and any(point["official"] == official for point in line)
    }


def _curve_sheet(title: str, name: str, points: pl.DataFrame, said: Sequence[str]) -> Sheet:
    methods = points["method"].drop_nulls().unique().sort().to_list()
    notes = [*said, f"± 95 % over seeds: {', '.join(methods)}" if methods else "no interval with fewer than 3 seeds"]
    if methods and (few := points["method"].null_count()):
        notes.append(f"no interval with fewer than 3 seeds: {few} of {len(points)} rows")
    columns = (
        STRATEGY,
        Column("fraction", "fraction"),
        Column("labelled_images", "labelled images", 0),
        Column("score", name, 2, unit="%", ends=("low", "high")),
        Column("seeds", "seeds"),
    )
    return Sheet(title, points, columns, tuple(notes), "ranked")
