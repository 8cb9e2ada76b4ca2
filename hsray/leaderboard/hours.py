"""Device time: what runs state of it, in which units it is shown, and where the hours went."""

from __future__ import annotations

import polars as pl

from hsray.leaderboard.chosen import CELL, Chosen
from hsray.leaderboard.sheet import Column, Sheet

HOUR = 3600
DIGITS = 9  # sums are rounded, so that the order in which threads added them up cannot show


def hours_sheet(chosen: Chosen) -> Sheet:
    """Device time by strategy; features serve all fractions and seeds of a dataset, so count once."""
    features = (
        chosen.runs.group_by("experiment", "dataset", "strategy").agg(features_once()).group_by("strategy")
        .agg(pl.col("device_seconds").sum().alias("features"))
    )  # fmt: skip
    of = {kind: pl.col("kind") == kind for kind in ("trial", "final")}
    frame = (
        chosen.runs.group_by("strategy")
        .agg(
            pl.struct(CELL).n_unique().alias("cells"),
            *(
                of["trial"].and_(pl.col("state") == state).sum().alias(state)
                for state in ("complete", "pruned", "failed")
            ),
            of["final"].sum().alias("finals"),
            (stated("device_seconds").filter(of["trial"]).sum() / HOUR).round(DIGITS).alias("trial_hours"),
            (stated("device_seconds").filter(of["final"]).sum() / HOUR).round(DIGITS).alias("final_hours"),
        )
        .join(features, on="strategy", how="left")
        .with_columns((pl.col("features") / HOUR).round(DIGITS).alias("feature_hours"))
        .with_columns(pl.sum_horizontal("trial_hours", "final_hours", "feature_hours").alias("hours"))
        .drop("features")
        .sort("hours", "strategy", descending=[True, False])
    )
    columns = (
        Column("strategy", "strategy", align="left"),
        Column("seconds", "device time", unit="s"),
        Column("trial_seconds", "of trials", unit="s"),
        Column("final_seconds", "of finals", unit="s"),
        Column("feature_seconds", "of features", unit="s"),
        Column("cells", "cells"),
        *(Column(state, f"trials {state}") for state in ("complete", "pruned", "failed")),
        Column("finals", "finals"),
    )
    return Sheet(
        "device time by strategy", timed(frame), columns, ("over all datasets and fractions", *untimed(chosen.runs))
    )


def timed(frame: pl.DataFrame) -> pl.DataFrame:
    """Every column of hours in seconds too, which are shown as durations: a demo takes seconds, a study weeks."""
    hours = [name for name in frame.columns if "hours" in name and name != "device_hours"]
    return frame.with_columns(
        (pl.col(name) * HOUR).round(DIGITS - 3).alias(name.replace("hours", "seconds")) for name in hours
    )


def stated(name: str) -> pl.Expr:
    """A time in seconds, null where none is stated."""
    return pl.when(pl.col(name).is_finite()).then(pl.col(name))


def untimed(runs: pl.DataFrame) -> list[str]:
    """A note on ended runs that do not say what they took."""
    ended = runs.filter(pl.col("state") != "running")
    without = ended.height - ended.select(stated("device_seconds").count()).item()
    counted = f"{without} {'run' if without == 1 else 'runs'} without a device time, counted as none"
    return [counted] if without else []


def features_once() -> pl.Expr:
    """Of a group of runs that share features the seconds that computing them took, as `device_seconds`."""
    return stated("features_seconds").max().fill_null(0.0).alias("device_seconds")
