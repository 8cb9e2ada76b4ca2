"""What a score costs: device time and trials until it is reached, the Pareto front, and where the hours went."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import polars as pl

from hsray.leaderboard import statistics
from hsray.leaderboard.chosen import CELL, CONTAMINATED, METRIC_NAMES, NAMES, PLACE, Chosen, Runs, choose
from hsray.leaderboard.hours import DIGITS, HOUR, features_once, hours_sheet, stated, timed, untimed
from hsray.leaderboard.sheet import Column, Sheet

SHARE = 0.95
FEATURES = "the time of a frozen encoder's features is counted once"


def costs(runs: Runs, metric: str = "jaccard_macro", target: float | None = None) -> list[Sheet]:
    """Four sheets: cost to reach a validation Jaccard, Pareto front of score and cost, hours by strategy, best so far.

    Times are device time (time × workers), in hours and in seconds; scores percent. `target` is a validation Jaccard in
    percent; without one it is 95 % of the best that any strategy which can be ranked reached on dataset and fraction.
    """
    chosen = choose(runs)
    trials, trial_notes = chosen.trials()
    finals, final_notes = chosen.finals([metric])
    progress = _progress(trials)
    return [
        _reach(progress, trial_notes, target),
        _front(chosen, finals, metric, final_notes),
        hours_sheet(chosen),
        _best(progress, chosen.notes),
    ]


def _progress(trials: pl.DataFrame) -> pl.DataFrame:
    """Each trial with its number in the order of ends, the cell's best so far and the device-hours spent so far."""
    features = pl.col("features_seconds").max().over(CELL)
    hours = ((pl.col("device_seconds").cum_sum().over(CELL) + features) / HOUR).round(DIGITS)
    known = (pl.col("device_seconds") > 0).any().over(CELL)  # null: what no trial says is not free
    return trials.with_columns(
        pl.int_range(1, pl.len() + 1).over(CELL).alias("number"),
        pl.when(known).then(hours).alias("device_hours"),
        pl.col("score").cum_max().forward_fill().over(CELL).alias("best"),
    )


def _reach(progress: pl.DataFrame, notes: Sequence[str], target: float | None) -> Sheet:
    ranked = pl.when(~pl.col("contaminated")).then("best").max()
    aim = (
        pl.lit(target, pl.Float64)
        if target is not None
        else SHARE * ranked.over("dataset", "official", "fraction_percent")
    )
    aimed = progress.with_columns(aim.alias("target"))
    reached = pl.col("best") >= pl.col("target")
    frame = (
        aimed.group_by(*CELL, maintain_order=True)
        .agg(
            *(pl.col(name).first() for name in (*PLACE, "target")),
            pl.col("number").filter(reached).first().alias("trials"),
            pl.col("device_hours").filter(reached).first().alias("hours"),
            pl.col("best").last(),
            pl.len().alias("trials_in_all"),
            pl.col("device_hours").last().alias("hours_in_all"),
        )
        .sort("dataset", "official", "fraction_percent", "hours", "variant", nulls_last=True)
    )
    what = f"{target:g} %" if target is not None else f"{100 * SHARE:g} % of the best on the same dataset and fraction"
    said = [
        f"target: a validation Jaccard of {what}; trials in the order they ended, failed and pruned ones count",
        f"device time: the trials' time × workers; {FEATURES}; – not reached, or not known",
    ]
    columns = (
        *NAMES,
        Column("target", "target", 2, unit="%"),
        Column("trials", "trials to it"),
        Column("seconds", "device time to it", unit="s"),
        Column("best", "best", 2, unit="%"),
        Column("trials_in_all", "trials in all"),
        Column("seconds_in_all", "device time in all", unit="s"),
    )
    return Sheet("cost to reach a score", timed(frame), columns, (*_marked(frame), *said, *notes))


def _front(chosen: Chosen, finals: pl.DataFrame, metric: str, notes: Sequence[str]) -> Sheet:
    scores = finals.group_by(*CELL, maintain_order=True).agg(
        *(pl.col(name).first() for name in PLACE),
        pl.col(metric).mean().round(DIGITS).alias("score"),
        pl.len().alias("seeds"),
    )
    seconds = stated("device_seconds")
    spent = chosen.runs.group_by(*CELL).agg(pl.when(seconds.count() > 0).then(seconds.sum() + features_once()))
    frame = scores.join(spent.rename({"device_seconds": "hours"}), on=CELL, how="left", maintain_order="left")
    frame = frame.with_columns((pl.col("hours") / HOUR).round(DIGITS), (~pl.col("contaminated")).alias("ranked"))
    parts = []
    for _, group in frame.group_by("dataset", "official", "fraction_percent", maintain_order=True):
        kept = (group["ranked"] & group["hours"].is_not_null()).to_numpy()
        front = np.zeros(len(group), dtype=bool)
        if kept.any():
            front[kept] = statistics.pareto(group["score"].to_numpy()[kept], group["hours"].to_numpy()[kept])
        parts.append(group.with_columns(pl.Series("front", front, dtype=pl.Boolean)))
    if parts:
        frame = pl.concat(parts).sort("dataset", "official", "fraction_percent", "hours", "variant", nulls_last=True)
    else:
        frame = frame.with_columns(pl.lit(value=False).alias("front"))
    said = [
        "on the front: no other strategy of the dataset and fraction scores as high for less; nor is one there whose "
        "device time is not known (–)",
        f"score: mean over the finals on the test set; device time: all trials and finals of the cell; {FEATURES}",
    ]
    columns = (
        *NAMES,
        Column("score", METRIC_NAMES[metric], 2, unit="%"),
        Column("seconds", "device time", unit="s"),
        Column("seeds", "seeds"),
        Column("front", "on the front", align="left"),
    )
    below = (*_marked(frame), *said, *untimed(chosen.runs), *notes)
    return Sheet("score and cost", timed(frame), columns, below, "ranked")


def _best(progress: pl.DataFrame, notes: Sequence[str]) -> Sheet:
    last = pl.col("number") == pl.col("number").max().over(CELL)
    better = pl.col("best").is_not_null() & pl.col("best").ne_missing(pl.col("best").shift(1).over(CELL))
    frame = progress.filter(better | last).select(*CELL, *PLACE, "strategy", "number", "device_hours", "best")
    columns = (
        *NAMES,
        Column("number", "trial"),
        Column("seconds", "device time", unit="s"),
        Column("best", "best so far", 2, unit="%"),
    )
    said = "best validation Jaccard so far: the trials that improved it, and the last one; in the order they ended"
    return Sheet(
        "best so far",
        timed(frame.with_columns(pl.col("device_hours").alias("hours"))),
        columns,
        (*_marked(frame), said, *notes),
    )


def _marked(frame: pl.DataFrame) -> list[str]:
    return [CONTAMINATED] if frame["contaminated"].any() else []
