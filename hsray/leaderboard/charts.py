"""Charts of the leaderboard's frames, as altair: shared by the report, the dashboard and notebooks.

Scores go in as percent, differences as percentage points, costs as device-hours. A strategy has the same colour and
mark in every chart that is given the same `strategies`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from hsray.leaderboard.chartstyle import COLOURS, MUTED, colour, dressed, shape
from hsray.leaderboard.confusionchart import confusion_chart
from hsray.leaderboard.parametercharts import parallel_chart, response_chart

if TYPE_CHECKING:
    import altair as alt

__all__ = [
    "best_so_far_chart",
    "confusion_chart",
    "curve_chart",
    "difference_chart",
    "parallel_chart",
    "pareto_chart",
    "response_chart",
    "scores_chart",
]
BANDS = 4  # more bands than this hide each other: then intervals are bars
HEADINGS = {
    "jaccard_macro": "mean Jaccard (%)",
    "f1_macro": "mean F1 (%)",
    "accuracy_macro": "mean class accuracy (%)",
    "accuracy_micro": "pixel accuracy (%)",
}


def scores_chart(
    rows: pl.DataFrame, metric: str = "jaccard_macro", *, strategies: Sequence[str] = (), width: int = 300
) -> alt.LayerChart:
    """Dots with intervals, best first, of one dataset at one fraction.

    `rows`: strategy, <metric>, <metric>_low, <metric>_high (null where there is no interval), as in `Board.rows`.
    """
    import altair as alt

    base = alt.Chart(rows.sort(metric, descending=True)).encode(
        y=alt.Y("strategy:N", sort=rows.sort(metric, descending=True)["strategy"].to_list(), title=None)
    )
    x = alt.X(f"{metric}:Q", scale=alt.Scale(zero=False, padding=12), title=HEADINGS.get(metric, metric))
    rule = base.mark_rule(strokeWidth=2).encode(
        x=alt.X(f"{metric}_low:Q"), x2=f"{metric}_high:Q", color=colour(rows, strategies, legend=False)
    )
    dots = base.mark_point(size=70, filled=True, opacity=1).encode(
        x=x,
        color=colour(rows, strategies, legend=False),
        shape=shape(rows, strategies, legend=False),
        tooltip=["strategy", alt.Tooltip(f"{metric}:Q", format=".2f")],
    )
    return dressed(alt.layer(rule, dots).properties(width=width, height=alt.Step(24)))


def curve_chart(
    rows: pl.DataFrame,
    metric: str = "jaccard_macro",
    *,
    strategies: Sequence[str] = (),
    width: int = 360,
    height: int = 260,
) -> alt.LayerChart:
    """The score against the fraction of training images (log scale) of one dataset, with bands or bars of intervals.

    `rows` as in `Board.rows`: strategy, fraction_percent, official (a curve of its own, dashed), <metric> and its ends.
    """
    import altair as alt

    ticks = sorted(rows["fraction_percent"].unique().to_list())
    base = alt.Chart(rows.sort("strategy", "official", "fraction_percent")).encode(
        x=alt.X(
            "fraction_percent:Q",
            scale=alt.Scale(type="log", base=2, nice=False, padding=18),
            axis=alt.Axis(values=ticks, labelExpr="format(datum.value, '~g') + ' %'", grid=False, labelOverlap=True),
            title="training images used",
        ),
        y=alt.Y(f"{metric}:Q", scale=alt.Scale(zero=False), title=HEADINGS.get(metric, metric)),
        color=colour(rows, strategies),
        detail="official:N",
    )
    low, high = alt.Y(f"{metric}_low:Q"), f"{metric}_high:Q"
    ends = base.transform_filter(f"isValid(datum['{metric}_low'])")
    if rows["strategy"].n_unique() <= BANDS and len(ticks) > 1:
        spread = ends.mark_area(opacity=0.16).encode(y=low, y2=high)
    else:
        spread = ends.mark_rule(strokeWidth=1.3).encode(y=low, y2=high)
    line = base.mark_line(strokeWidth=2).encode(
        strokeDash=alt.StrokeDash("official:N", legend=None, scale=alt.Scale(domain=[False, True], range=[[], [5, 4]]))
    )
    dots = base.mark_point(size=55, filled=True, opacity=1).encode(
        shape=shape(rows, strategies), tooltip=["strategy", "fraction", alt.Tooltip(f"{metric}:Q", format=".2f")]
    )
    return dressed(alt.layer(spread, line, dots).properties(width=width, height=height))


def difference_chart(differences: pl.DataFrame, *, unit: str = "points", width: int = 260) -> alt.LayerChart:
    """Paired differences with intervals about zero. `differences`: label, difference, low, high (null: no interval)."""
    import altair as alt

    base = alt.Chart(differences).encode(y=alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=220)))
    zero = alt.Chart(pl.DataFrame({"zero": [0]})).mark_rule(color=MUTED, strokeDash=[4, 3]).encode(x="zero:Q")
    rule = base.mark_rule(strokeWidth=2, color=COLOURS[0]).encode(x=alt.X("low:Q"), x2="high:Q")
    dots = base.mark_point(size=60, filled=True, opacity=1, color=COLOURS[0]).encode(
        x=alt.X("difference:Q", title=f"difference ({unit})"), tooltip=["label", "difference", "low", "high"]
    )
    return dressed(alt.layer(zero, rule, dots).properties(width=width, height=alt.Step(24)))


def pareto_chart(
    points: pl.DataFrame,
    *,
    cost: str = "cost",
    score: str = "score",
    cost_title: str = "device-hours",
    score_title: str = HEADINGS["jaccard_macro"],
    strategies: Sequence[str] = (),
    width: int = 360,
    height: int = 240,
) -> alt.LayerChart:
    """Score against cost (log scale), the front as steps. `points`: strategy, cost (> 0), score in percent, front."""
    import altair as alt

    x = alt.X(
        f"{cost}:Q",
        scale=alt.Scale(type="log", nice=False, padding=15),
        title=cost_title,
        axis=alt.Axis(tickCount=4, format="~g", grid=False, labelOverlap=True),
    )
    y = alt.Y(f"{score}:Q", scale=alt.Scale(zero=False), title=score_title)
    front = points.filter(pl.col("front")).sort(cost)
    steps = alt.Chart(front).mark_line(interpolate="step-after", color=MUTED, strokeDash=[4, 3]).encode(x=x, y=y)
    dots = (
        alt.Chart(points)
        .mark_point(size=65, filled=True, opacity=1)
        .encode(
            x=x, y=y, color=colour(points, strategies), shape=shape(points, strategies),
            tooltip=["strategy", *(name for name in ("fraction",) if name in points.columns), cost, score],
        )
    )  # fmt: skip
    return dressed(alt.layer(steps, dots).properties(width=width, height=height))


def best_so_far_chart(
    steps: pl.DataFrame, *, strategies: Sequence[str] = (), width: int = 360, height: int = 240
) -> alt.Chart:
    """The best validation score against what was spent. `steps`: strategy, cost (device-hours), best (percent)."""
    import altair as alt

    chart = (
        alt.Chart(steps.sort("strategy", "cost"))
        .mark_line(interpolate="step-after", strokeWidth=2, point=alt.OverlayMarkDef(size=30, filled=True))
        .encode(
            x=alt.X("cost:Q", title="device-hours spent on trials"),
            y=alt.Y("best:Q", scale=alt.Scale(zero=False), title="best validation score (%)"),
            color=colour(steps, strategies),
            detail="cell:N" if "cell" in steps.columns else "strategy:N",
            tooltip=["strategy", "cost", "best"],
        )
    )
    return dressed(chart.properties(width=width, height=height))
