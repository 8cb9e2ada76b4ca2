"""What all runs of a cell decide together: which of its definitions counts, and what must be said of it."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from hsray.scores import METRICS


def settled(runs: pl.DataFrame) -> pl.DataFrame:
    """With what all runs of a cell decide together, which stays true of some of them; what is settled already stays.

    `definition`: whether that of the run is the cell's `current` one, or an `older` or a `newer` one. `test_reads`: how
    many finals of the cell, under any definition and superseded or not, have read the test set. `contaminated`: of any
    run of the cell that counts.
    """
    if "definition" in runs.columns:
        return runs
    place = [name for name in ("source", "experiment") if name in runs.columns]
    usable = pl.col("problem").is_null()
    read = usable & pl.col(METRICS[0]).is_not_null()
    counted = usable & ~pl.col("superseded") & pl.col("contaminated")
    frame = runs.join(_definitions(runs.filter(usable), place), on=[*place, "cell"], how="left", maintain_order="left")
    return frame.with_columns(
        read.sum().over(*place, "cell_name").cast(pl.Int64).alias("test_reads"),
        pl.col("contaminated") | counted.any().over(*place, "cell"),
    )


def _definitions(usable: pl.DataFrame, place: Sequence[str]) -> pl.DataFrame:
    """Of every cell the current definition, the last one with complete finals, else the one that ran last; and the
    others."""
    counts = (pl.col("kind") == "final") & (pl.col("state") == "complete") & ~pl.col("superseded")
    ranked = usable.group_by(*place, "cell_name", "cell").agg(counts.any().alias("counts"), pl.col("started_ms").max())
    ranked = ranked.sort("counts", "started_ms", "cell", descending=True, nulls_last=True)
    first = [pl.col(name).first().over(*place, "cell_name") for name in ("cell", "started_ms")]
    standing = (
        pl.when(pl.col("cell") == first[0]).then(pl.lit("current"))
        .when(pl.col("started_ms") > first[1]).then(pl.lit("newer"))
        .otherwise(pl.lit("older"))
    )  # fmt: skip
    return ranked.select(*place, "cell", standing.alias("definition"))
