"""What curves over the fraction amount to: the area under each, and the labels it takes to match another."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import polars as pl
from numpy.typing import NDArray

from hsray.leaderboard import statistics
from hsray.leaderboard.chosen import seed_of
from hsray.leaderboard.sheet import Column, Sheet

Line = list[dict[str, Any]]  # the points of one strategy's curve, by rising fraction
AREA_SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("dataset", "variant", "metric"), pl.String),
    **dict.fromkeys(("height", "low", "high", "from_percent", "to_percent"), pl.Float64),
    "seeds": pl.Int64,
    "ranked": pl.Boolean,
    "mark": pl.String,
}
REFERENCES = 8  # strategies to match; more columns nobody reads
STRATEGY = Column("variant", "strategy", align="left", mark="mark")


def area_sheet(
    title: str,
    metric: str,
    lines: dict[str, list[dict[str, Any]]],
    by_seed: dict[tuple[str, str, str], dict[int, float]],
    said: Sequence[str],
) -> Sheet:
    """The mean height of each curve over the fractions all share. `by_seed`: scores of (dataset, variant, fraction)."""
    shared = set.intersection(*({point["fraction"] for point in line} for line in lines.values()))
    notes = list(said)
    if len(shared) < 2:
        notes.append("the curves share fewer than two fractions: each is taken over its own range, and none is marked")
    rows = []
    for variant, line in lines.items():
        dataset = line[0]["dataset"]
        used = [point for point in line if len(shared) < 2 or point["fraction"] in shared]
        x = np.array([point["fraction_percent"] for point in used])
        seeds = sorted(set.intersection(*(set(by_seed[dataset, variant, point["fraction"]]) for point in used)))
        weights = _weights(tuple(point["fraction_percent"] for point in used))
        each = [[by_seed[dataset, variant, point["fraction"]][seed] for point in used] for seed in seeds]
        heights = np.array(each).reshape(len(seeds), len(used)) @ weights
        mean = float(np.array([point["score"] for point in used]) @ weights)
        interval = statistics.seed_interval(heights, seed=seed_of(metric, "area")) if seeds else None
        rows.append(
            {
                "dataset": dataset,
                "variant": variant,
                "metric": metric,
                "height": float(heights.mean()) if seeds else mean,
                "low": interval.low if interval else None,
                "high": interval.high if interval else None,
                "from_percent": float(x[0]),
                "to_percent": float(x[-1]),
                "seeds": len(seeds),
                "ranked": not line[0]["contaminated"] and len(shared) > 1,
                "mark": line[0]["mark"],
            }
        )
    frame = pl.DataFrame(rows, schema=AREA_SCHEMA).sort("height", "variant", descending=[True, False])
    notes.append(
        "area under the curve over log2 of the fraction (trapezoids), divided by the width of the range: the mean "
        "score when every doubling of the labels counts alike; over the fractions that all curves share, and the "
        "seeds that a curve has at each"
    )
    columns = (
        STRATEGY,
        Column("height", "area", 2, best="high", unit="%", ends=("low", "high")),
        Column("from_percent", "from", unit="%"),
        Column("to_percent", "to", unit="%"),
        Column("seeds", "seeds"),
    )
    return Sheet(f"{title}: area under the curve", frame, columns, tuple(notes), "ranked")


@cache
def _weights(fractions: tuple[float, ...]) -> NDArray[np.float64]:
    """What each point of a curve counts in the area, which is linear in the scores: so many seeds take one product."""
    return np.array([statistics.area_under_curve(fractions, point) for point in np.eye(len(fractions))])


def match_sheet(title: str, name: str, lines: dict[str, list[dict[str, Any]]], said: Sequence[str]) -> Sheet:
    """A row a strategy, a column a reference: the fraction in percent, null where the curve never gets there."""
    best = sorted(lines, key=lambda variant: (-lines[variant][-1]["score"], variant))[:REFERENCES]
    references = {variant: line for variant, line in lines.items() if variant in best}
    headed = {f"labels for {variant}": f"{variant} ({line[-1]['fraction']})" for variant, line in references.items()}
    rows: list[dict[str, Any]] = []
    for variant, line in lines.items():
        x = np.array([point["fraction_percent"] for point in line])
        y = np.array([point["score"] for point in line])
        targets = [reference[-1]["score"] for reference in references.values()]
        matches = [statistics.labels_to_match(x, y, target) for target in targets]
        rows.append(
            {
                "dataset": line[0]["dataset"],
                "variant": variant,
                "mark": line[0]["mark"],
                **dict(zip(headed, matches, strict=True)),
            }
        )
    schema = {"dataset": pl.String, "variant": pl.String, "mark": pl.String, **dict.fromkeys(headed, pl.Float64)}
    columns = [STRATEGY, *(Column(column, heading, 1) for column, heading in headed.items())]
    if len(lines) > len(references):
        said = [
            *said,
            f"to match: the {len(references)} of {len(lines)} strategies that score highest at their most labels",
        ]
    notes = (
        *said,
        f"the fraction of the training images, in percent, at which a strategy's curve first reaches the {name} of the "
        "strategy above the column at its most labels; straight lines over log2 of the fraction between measured "
        "means; –: it does not reach it; where the smallest fraction measured is enough, that fraction",
    )
    return Sheet(f"{title}: labels needed to match", pl.DataFrame(rows, schema=schema), tuple(columns), notes)
