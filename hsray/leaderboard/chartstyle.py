"""How charts look: the colour and mark of a strategy, quiet axes, a legend below.

Colours are Okabe and Ito's (Color Universal Design, 2008), the light ones darkened to a contrast of 3:1 against white.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import altair as alt

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#BC5F95", "#B07800", "#2F8FC9", "#222222")
SHAPES = ("circle", "square", "triangle-up", "diamond", "cross", "triangle-down", "triangle-right")
INK, MUTED, RULE, ACCENT = "#1B1F26", "#5B6470", "#DFE3E8", "#0072B3"
FONT = "Arial, 'Liberation Sans', Helvetica, sans-serif"
WIDEST = 150  # pixels, of a name in a legend
CHARACTER = 6  # pixels, of a legend's text
_ONE_AT_A_TIME = threading.Lock()  # altair's limit holds for the whole process, and a dashboard draws in many threads


def specification(chart: Any) -> dict[str, Any]:
    """The chart in Vega-Lite with all its rows: altair would refuse more than 5000, for the sake of notebooks' size."""
    import altair as alt

    with _ONE_AT_A_TIME, alt.data_transformers.enable("default", max_rows=None):
        return chart.to_dict(validate=False)  # ours; the check would take as long as the drawing


def marks(frame: pl.DataFrame, strategies: Sequence[str], among: Sequence[str]) -> tuple[list[str], list[str]]:
    """The frame's strategies and the mark of each, by its place in `strategies` (without them, in the alphabet)."""
    here = set(frame["strategy"].to_list())
    places = [(name, place) for place, name in enumerate(strategies or sorted(here)) if name in here]
    turn = 0 if among is COLOURS else 1  # shapes go on by one a round, so that no two strategies look the same
    return [name for name, _ in places], [among[(at + turn * (at // len(among))) % len(among)] for _, at in places]


def colour(frame: pl.DataFrame, strategies: Sequence[str], *, legend: bool = True) -> alt.Color:
    import altair as alt

    domain, colours = marks(frame, strategies, COLOURS)
    scale = alt.Scale(domain=domain, range=colours)
    return alt.Color("strategy:N", scale=scale, title=None, legend=_legend(domain) if legend else None)


def shape(frame: pl.DataFrame, strategies: Sequence[str], *, legend: bool = True) -> alt.Shape:
    import altair as alt

    domain, shapes = marks(frame, strategies, SHAPES)
    scale = alt.Scale(domain=domain, range=shapes)
    return alt.Shape("strategy:N", scale=scale, title=None, legend=_legend(domain) if legend else None)


def dressed(chart: Any, title: str = "") -> Any:
    """Quiet axes, and no background: the page behind shows through."""
    import altair as alt

    if title:
        chart = chart.properties(title=alt.TitleParams(title, anchor="start", fontSize=12, color=INK, font=FONT))
    axis = {
        "labelColor": INK, "titleColor": INK, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
        "gridColor": RULE, "domainColor": MUTED, "tickColor": MUTED, "labelLimit": 170,
    }  # fmt: skip
    legend = {
        "orient": "bottom", "labelColor": INK, "labelFontSize": 11, "symbolSize": 70, "labelLimit": WIDEST,
        "titleColor": INK,
    }  # fmt: skip
    chart = chart.configure(font=FONT, background="transparent").configure_axis(**axis)
    return chart.configure_legend(**legend).configure_view(stroke=None)


def _legend(names: Sequence[str]) -> alt.Legend:
    """As many columns as the names leave room for."""
    import altair as alt

    longest = max((len(name) for name in names), default=0)
    return alt.Legend(
        symbolOpacity=1, columns=max(1, min(len(names), 4, int(360 / (min(CHARACTER * longest, WIDEST) + 30))))
    )
