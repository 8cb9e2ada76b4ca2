"""Which runs a comparison counts, with what their cells are called. Group-bys over runs, loops over cells at most."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import polars as pl

from hsray.axes import axis_name
from hsray.leaderboard.definitions import settled
from hsray.leaderboard.sheet import Column
from hsray.scores import METRICS

MARK = "‡"
CONTAMINATED = f"{MARK} contaminated: the encoder's pretraining data hold this very dataset; shown, not ranked"
METRIC_NAMES = dict(zip(METRICS, ("accuracy", "mean accuracy", "mean F1", "mean Jaccard"), strict=True))
SHORT_NAMES = dict(zip(METRICS, ("accuracy", "mean acc.", "F1", "Jaccard"), strict=True))
CELL = ("experiment", "cell")
# What tells one cell from another in a sheet: the columns of a frame, and those that are shown.
PLACE = ("dataset", "fraction", "official", "fraction_percent", "variant", "mark", "contaminated")
NAMES = (
    Column("dataset", "dataset", align="left"),
    Column("fraction", "fraction", align="left"),
    Column("variant", "strategy", align="left", mark="mark"),
)
NAMED = 8  # cells named one by one; of more, they are counted
OWN_AXES = ("dataset", "strategy", "fraction")
_AXES_SCHEMA: dict[str, Any] = {
    "axes": pl.String,
    "fraction": pl.String,
    "fraction_percent": pl.Float64,
    "official": pl.Boolean,
    "more": pl.String,
}


@dataclass(frozen=True)
class Chosen:
    """`runs`: the runs of each cell's current definition, not superseded, with the columns of `load` and
    `fraction` (its label; null where it is searched), `fraction_percent`, `official`, `more` (other axes in words),
    `variant` (strategy and other axes), `contaminated` (of the whole cell) and `mark`. Scores are fractions of one.
    `notes` count what was left out.
    """

    runs: pl.DataFrame
    notes: tuple[str, ...]

    def finals(self, metrics: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
        """Complete finals, one a seed, with the metrics in percent; and notes on those left out."""
        finals = self.runs.filter(pl.col("kind") == "final")
        searched = finals.filter(pl.col("fraction").is_null())
        complete = finals.filter(pl.col("state") == "complete", pl.col("fraction").is_not_null())
        finite = complete.filter(
            pl.all_horizontal(pl.col(metric).is_finite().fill_null(value=False) for metric in metrics)
        )
        single = finite.sort("started_ms", "run_id").unique([*CELL, "seed"], keep="last", maintain_order=True)
        left_out = {
            "finals that are not complete": finals.height - searched.height - complete.height,
            "finals without a finite score": complete.height - finite.height,
            "finals of a seed that a later final repeats": finite.height - single.height,
            "finals of cells that search the fraction": searched.height,
        }
        percent = single.with_columns(pl.col(metric) * 100 for metric in metrics)
        ordered = percent.sort("dataset", "official", "fraction_percent", "variant", "experiment", "seed")
        return ordered, [f"left out, {what}: {count}" for what, count in left_out.items() if count]

    def trials(self) -> tuple[pl.DataFrame, list[str]]:
        """Ended trials of cells with one objective in the order they ended, `score` (best validation Jaccard in
        percent, null where there is none), `device_seconds` 0 where unknown; and notes on those left out.
        """
        trials = self.runs.filter(pl.col("kind") == "trial")
        ended = trials.filter(pl.col("state").is_in(["complete", "pruned", "failed"]))
        single = ended.filter(pl.col("fraction").is_not_null())
        score = pl.col("validation_jaccard_macro")
        known = (pl.col("state") != "failed") & score.is_finite().fill_null(value=False)
        free = single.filter(~pl.col("device_seconds").is_finite().fill_null(value=False)).height
        left_out = {
            "left out, trials that have not ended": trials.height - ended.height,
            "left out, trials of cells that search the fraction": ended.height - single.height,
            "trials without a device time, which counts as none": free,
        }
        ends = [name for name in ("ended_ms", "started_ms") if name in single.columns]
        prepared = single.with_columns(
            pl.when(known).then(100 * score).alias("score"),
            pl.col("device_seconds").fill_nan(None).fill_null(0.0),
            pl.col("features_seconds").fill_nan(None).fill_null(0.0),
            pl.coalesce(ends).alias("end"),
        ).sort("dataset", "official", "fraction_percent", "variant", *CELL, "end", "run_id")
        return prepared, [f"{what}: {count}" for what, count in left_out.items() if count]


Runs = pl.DataFrame | pl.LazyFrame | Chosen


def choose(runs: Runs) -> Chosen:
    """The runs that count, out of those of `load` or of a mirror; what is chosen already stays as it is."""
    if isinstance(runs, Chosen):
        return runs
    frame = _labelled(settled(runs.lazy().collect()))
    usable = frame.filter(pl.col("problem").is_null(), pl.col("more").is_not_null())
    problems = frame.filter(pl.col("problem").is_not_null() | pl.col("more").is_null())
    reasons = problems.with_columns(pl.col("problem").fill_null("the fraction in the tag hsray.axes is no number"))
    notes = [f"{count} {_runs(count)} not used: {reason}" for reason, count in _counted(reasons, "problem")]
    chosen = usable.filter(pl.col("definition") == "current")
    if others := usable.height - chosen.height:
        notes.append(f"{others} {_runs(others)} of other definitions of these cells not used")
    awaited = usable.filter(pl.col("definition") == "newer")["cell_name"].unique().sort().to_list()
    if awaited:
        notes.append(f"the newest definition has no complete final yet, so a former one counts: {some(awaited)}")
    live = chosen.filter(~pl.col("superseded"))
    if superseded := chosen.height - live.height:
        notes.append(f"{superseded} superseded {_runs(superseded)} not used")
    live = live.with_columns(pl.col("contaminated").any().over(CELL)).with_columns(
        pl.when("contaminated").then(pl.lit(MARK)).otherwise(pl.lit("")).alias("mark"),
        (
            pl.col("strategy") + pl.when(pl.col("more") != "").then(" (" + pl.col("more") + ")").otherwise(pl.lit(""))
        ).alias("variant"),
    )
    return Chosen(live, tuple(notes))


def seed_of(*content: str) -> int:
    """The seed of a draw, from what it concerns and nothing else."""
    return int.from_bytes(hashlib.sha256("\0".join(content).encode()).digest()[:8], "big")


def _labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """With the axes in words. Several experiments tell their runs apart by one more axis, the experiment."""
    if "source" in frame.columns and frame["source"].n_unique() > 1:
        sources = frame.group_by("experiment").agg(pl.col("source").n_unique().alias("sources"))
        placed = pl.when(pl.col("sources") > 1).then(pl.col("experiment") + " at " + pl.col("source"))
        frame = frame.join(sources, on="experiment", how="left", maintain_order="left")
        frame = frame.with_columns(placed.otherwise("experiment").alias("experiment")).drop("sources")
    axes = frame.filter(pl.col("problem").is_null())["axes"].unique()
    labels = pl.DataFrame([_label(text) for text in axes.sort()], schema=_AXES_SCHEMA, orient="row")
    frame = frame.join(labels, on="axes", how="left", maintain_order="left")
    if frame["experiment"].n_unique() > 1:
        named = pl.concat_str(
            pl.when(pl.col("more") != "").then(pl.col("more") + ", ").otherwise(pl.lit("")),
            pl.lit("experiment=") + pl.col("experiment"),
        )
        frame = frame.with_columns(pl.when(pl.col("more").is_not_null()).then(named).alias("more"))
    return frame


def _label(text: str) -> tuple[str, str | None, float | None, bool, str | None]:
    axes = json.loads(text)
    fraction = axes.get("fraction")
    official = isinstance(fraction, str) and fraction.startswith("official:")
    more = ", ".join(f"{name}={axis_name(axes[name])}" for name in sorted(set(axes) - set(OWN_AXES)))
    if fraction is None:
        return text, None, None, False, more
    try:
        percent = float(fraction.removeprefix("official:")) if official else 100 * float(fraction)
    except (TypeError, ValueError):
        percent = math.nan
    if not 0 < percent < math.inf:
        return text, None, None, False, None
    # Rounded as it is shown, so that one label is one fraction.
    return text, f"{'official ' if official else ''}{percent:g} %", float(f"{percent:g}"), official, more


def _counted(frame: pl.DataFrame, column: str) -> list[tuple[str, int]]:
    return sorted(frame.group_by(column).len().iter_rows())


def some(names: Sequence[str]) -> str:
    """Names one by one, of many the first."""
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _runs(count: int) -> str:
    return "run" if count == 1 else "runs"
