"""From runs to the comparison: one row a cell, and notes on all that is not in a row."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import polars as pl

from hsray.axes import axis_name
from hsray.leaderboard.board_intervals import Intervals, Over
from hsray.leaderboard.board_notes import interval_notes, notes_on_cells, notes_on_runs
from hsray.leaderboard.chosen import CELL, CONTAMINATED, OWN_AXES, choose
from hsray.leaderboard.definitions import settled
from hsray.leaderboard.pareto import fronts
from hsray.scores import METRICS

if TYPE_CHECKING:
    from hsray.leaderboard.confusions import Confusions

TRIAL_STATES = ("complete", "pruned", "failed")


@dataclass(frozen=True)
class Board:
    """`rows`: one a cell with finals, best mean Jaccard first within dataset and fraction. `fronts`: Pareto fronts of
    the cells that search the fraction. `notes`: what a reader must know besides, and what was left out.

    Of every metric, in percent: `<metric>` the mean over seeds, `_sd` the standard deviation, `_iqm` the interquartile
    mean, `_low` and `_high` the ends of the 95 % interval (null where there is none), which `interval` names. Times are
    in seconds, null where no run states one. `more_axes` are columns, too, as text.
    """

    experiment: str
    rows: pl.DataFrame
    fronts: pl.DataFrame
    more_axes: list[str]
    notes: list[str]
    experiments: list[str] = field(default_factory=list)


def table(
    runs: pl.DataFrame | pl.LazyFrame,
    *,
    interval: Over = "seeds",
    confusions: Callable[[str], Confusions | None] | None = None,
) -> Board:
    """The comparison that runs, as `load` or a mirror gives them, amount to.

    `interval`: what is drawn again; images and both need the finals' `confusions`.
    """
    frame = settled(runs.lazy().collect())
    chosen = choose(frame)
    live = chosen.runs
    finals, unused = _finals(live.filter(pl.col("fraction").is_not_null()))
    intervals = Intervals(interval, confusions)
    names = sorted(live["experiment"].unique()) if live.height else sorted(frame["experiment"].unique())
    rows = _rows(live, finals).join(intervals.columns(finals), on=CELL, how="left", maintain_order="left")
    rows, more_axes = _axis_columns(rows, several=len(names) > 1)
    rows = rows.sort(
        ["dataset", "official", "fraction_percent", "jaccard_macro", "experiment", "cell"],
        descending=[False, False, False, True, False, False],
    )
    searched = live.filter(pl.col("fraction").is_null()).partition_by(*CELL, maintain_order=True)
    found_fronts, front_notes = fronts(searched)
    marked = rows["contaminated"].any() or found_fronts["contaminated"].any()
    notes = [
        *([CONTAMINATED] if marked else []),
        *interval_notes(rows, intervals),
        *notes_on_cells(live, finals),
        *front_notes,
        *unused,
        *chosen.notes,
        *notes_on_runs(frame, live),
    ]
    return Board(names[0] if len(names) == 1 else ", ".join(names), rows, found_fronts, more_axes, notes, names)


def _finals(single: pl.DataFrame) -> tuple[pl.DataFrame, list[str]]:
    """Complete finals of cells with one objective, one a seed, scores in percent; and notes on the others."""
    complete = single.filter(pl.col("kind") == "final", pl.col("state") == "complete")
    finite = complete.filter(pl.all_horizontal(pl.col(metric).is_finite().fill_null(value=False) for metric in METRICS))
    once = finite.sort("started_ms", "run_id").unique([*CELL, "seed"], keep="last", maintain_order=True)
    left_out = {
        "without finite scores": complete.height - finite.height,
        "of a seed that a later final repeats": finite.height - once.height,
    }
    notes = [f"{count} {'final' if count == 1 else 'finals'} {what} not used" for what, count in left_out.items()]
    notes = [note for note in notes if not note.startswith("0 ")]
    return once.with_columns(pl.col(metric) * 100 for metric in METRICS), notes


def _rows(live: pl.DataFrame, finals: pl.DataFrame) -> pl.DataFrame:
    """One row a cell that has finals."""
    trial, state = pl.col("kind") == "trial", pl.col("state")
    whole = live.group_by(CELL, maintain_order=True).agg(
        *((trial & (state == name)).sum().cast(pl.Int64).alias(f"trials_{name}") for name in TRIAL_STATES),
        # Null where no run states a time: what nobody measured is not free.
        pl.when(pl.col("device_seconds").is_finite().any()).then(pl.col("device_seconds").fill_nan(None).sum()),
        # The same features serve all runs of a cell; each run states what computing them took.
        pl.col("features_seconds").fill_nan(None).max().fill_null(0.0),
    )
    names = ("dataset", "fraction", "strategy", "family", "contaminated", "mark", "task", "axes")
    scores = finals.group_by(CELL, maintain_order=True).agg(
        *(pl.col(name).first() for name in (*names, "fraction_percent", "official", "test_reads")),
        *(pl.col(metric).mean() for metric in METRICS),
        *(pl.col(metric).std().alias(f"{metric}_sd") for metric in METRICS),
        pl.len().cast(pl.Int64).alias("seeds"),
    )
    return scores.join(whole, on=CELL, how="left", maintain_order="left")


def _axis_columns(rows: pl.DataFrame, *, several: bool) -> tuple[pl.DataFrame, list[str]]:
    """The axes beyond dataset, strategy and fraction as columns; of several experiments, the experiment first."""
    texts = rows["axes"].unique().to_list()
    parsed = {text: json.loads(text) for text in texts}
    names = sorted({name for axes in parsed.values() for name in axes} - set(OWN_AXES))
    columns = {name: name if name not in rows.columns else f"axis {name}" for name in names}
    values: Sequence[dict[str, str]] = [
        {"axes": text} | {columns[name]: axis_name(axes[name]) for name in names if name in axes}
        for text, axes in parsed.items()
    ]
    beside = pl.DataFrame(values, schema=dict.fromkeys(("axes", *columns.values()), pl.String))
    joined = rows.join(beside, on="axes", how="left", maintain_order="left")
    return joined, [*(["experiment"] if several else []), *columns.values()]
