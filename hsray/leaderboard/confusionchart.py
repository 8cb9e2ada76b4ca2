"""A confusion matrix as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from hsray.leaderboard.chartstyle import ACCENT, INK, dressed

if TYPE_CHECKING:
    import altair as alt

MOST_NUMBERED = 20  # classes; with more of them no number fits into a cell
SCHEMA = {"true": pl.String, "predicted": pl.String, "share": pl.Float64}


def confusion_chart(
    confusion_KK: np.ndarray, class_names: Sequence[str], *, title: str = "", side: int = 300
) -> alt.LayerChart:
    """A confusion matrix (rows: true class), every row in percent of its pixels.

    Classes without a pixel have no row, those that are not predicted either no column. At half its colour at most, a
    cell leaves its number readable.
    """
    import altair as alt

    true = [k for k in range(len(confusion_KK)) if confusion_KK[k].sum()]
    predicted = [k for k in range(len(confusion_KK)) if k in true or confusion_KK[:, k].sum()]
    names = _distinct(class_names)
    rows = [
        {"true": names[t], "predicted": names[p], "share": float(confusion_KK[t, p] / confusion_KK[t].sum())}
        for t in true
        for p in predicted
        if confusion_KK[t, p]
    ]
    base = alt.Chart(pl.DataFrame(rows, schema=SCHEMA)).encode(
        x=alt.X(
            "predicted:N",
            sort=[names[k] for k in predicted],
            scale=alt.Scale(domain=[names[k] for k in predicted]),  # those, too, into which nothing falls
            axis=alt.Axis(labelAngle=-60, labelLimit=110, grid=False),
            title="predicted",
        ),
        y=alt.Y("true:N", sort=[names[k] for k in true], axis=alt.Axis(labelLimit=110, grid=False), title="true"),
    )
    cells = base.mark_rect(fill=ACCENT)
    layers = [
        cells.encode(
            fillOpacity=alt.FillOpacity("share:Q", scale=alt.Scale(domain=[0, 1], range=[0, 0.5]), legend=None),
            tooltip=["true", "predicted", alt.Tooltip("share:Q", format=".1%")],
        )
    ]
    if len(predicted) <= MOST_NUMBERED:
        numbers = base.transform_filter("datum.share >= 0.005").transform_calculate(
            percent="format(100 * datum.share, '.0f')"
        )
        layers.append(numbers.mark_text(fontSize=10 if len(predicted) <= 12 else 8, color=INK).encode(text="percent:N"))
    height = max(24, side * len(true) / max(1, len(predicted)))
    return dressed(alt.layer(*layers).properties(width=side, height=height), title)


def _distinct(names: Sequence[str]) -> list[str]:
    """Two classes of one name are two rows."""
    return [name if list(names).count(name) == 1 else f"{name} ({number})" for number, name in enumerate(names)]
