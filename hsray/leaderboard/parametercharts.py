"""Charts of hyperparameters: every trial as a line over them, or as a dot against one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from hsray.leaderboard.chartstyle import COLOURS, MUTED, colour, dressed, shape

if TYPE_CHECKING:
    import altair as alt


def parallel_chart(
    trials: pl.DataFrame, parameters: Sequence[str], *, score: str = "score", width: int = 420, height: int = 220
) -> alt.LayerChart:
    """One line a trial over its hyperparameters and its score; every axis from its least to its greatest value.

    `trials` is wide: a column a parameter (numbers, or words in alphabetical order) and the score in percent.
    """
    import altair as alt

    names = [*parameters, score]
    long = _unpivoted(trials, names)
    base = alt.Chart(long).encode(
        x=alt.X("parameter:N", sort=names, title=None, axis=alt.Axis(labelAngle=0, grid=True)),
        y=alt.Y("place:Q", axis=None, scale=alt.Scale(domain=[-0.05, 1.05])),
    )
    lines = base.mark_line(strokeWidth=1.2, color=COLOURS[0]).encode(
        detail="trial:N",
        opacity=alt.Opacity("score:Q", scale=alt.Scale(range=[0.12, 0.95]), legend=None),
    )
    ends = long.sort("place").group_by("parameter", maintain_order=True)
    edges = pl.concat([ends.first(), ends.last()]).with_columns(pl.col("place").round(0))
    words = alt.Chart(edges).mark_text(dx=6, align="left", fontSize=10, color=MUTED).encode(
        x=alt.X("parameter:N", sort=names), y="place:Q", text="shown:N"
    )  # fmt: skip
    return dressed(alt.layer(lines, words).properties(width=width, height=height))


def response_chart(
    trials: pl.DataFrame,
    parameter: str,
    *,
    score: str = "score",
    strategies: Sequence[str] = (),
    width: int = 360,
    height: int = 220,
) -> alt.Chart:
    """The score of every trial against one hyperparameter: numbers on a log scale where all are above zero."""
    import altair as alt

    numeric = trials[parameter].dtype.is_numeric()
    positive = numeric and len(trials) > 0 and trials[parameter].min() > 0  # type: ignore[operator]
    x = (
        alt.X(
            f"{parameter}:Q",
            scale=alt.Scale(**({"type": "log"} if positive else {"zero": False}), nice=False, padding=12),
        )
        if numeric
        else alt.X(f"{parameter}:N", axis=alt.Axis(labelAngle=0))
    )
    chart = alt.Chart(trials).mark_point(size=55, filled=True, opacity=0.85)
    chart = chart.encode(
        x=x,
        y=alt.Y(f"{score}:Q", scale=alt.Scale(zero=False), title="validation score (%)"),
        color=colour(trials, strategies),
        shape=shape(trials, strategies),
        tooltip=["strategy", parameter, score],
    )
    return dressed(chart.properties(width=width, height=height))


def _unpivoted(trials: pl.DataFrame, names: Sequence[str]) -> pl.DataFrame:
    """One row a trial and parameter: its place between 0 and 1 among the values, and the value as text."""
    numbered = trials.with_row_index("trial")
    score = names[-1]
    parts = []
    for name in names:
        column = numbered[name]
        values = (
            column.cast(pl.Float64)
            if column.dtype.is_numeric()
            else column.cast(pl.String).rank("dense").cast(pl.Float64)
        )
        low, high = values.min(), values.max()
        place = (values - low) / (high - low) if high is not None and high > low else values * 0 + 0.5  # type: ignore[operator]
        shown = [f"{value:.3g}" if isinstance(value, float) else str(value) for value in column]
        parts.append(
            pl.DataFrame(
                {
                    "trial": numbered["trial"],
                    "parameter": [name] * len(numbered),
                    "place": place,
                    "shown": shown,
                    "score": numbered[score].cast(pl.Float64),
                }
            )
        )
    return pl.concat(parts).drop_nulls("place")
