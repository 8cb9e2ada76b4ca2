"""The leaderboard's charts in the page's own light or dark colours and width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import streamlit as st

from hsray.leaderboard.chartstyle import INK, MUTED, specification

if TYPE_CHECKING:
    import altair as alt

GREY = "#808080"  # for words and rules within a chart: at least 3.9:1 on the light page and on the dark one
LEGEND = {"orient": "bottom", "columns": 2, "labelLimit": 130}  # beside each other on a telephone, too


def draw(chart: alt.Chart | alt.LayerChart, height: int = 300) -> None:
    """Show a chart of `hsray.leaderboard.charts` as wide as the page; its fixed inks give way to the page's theme."""
    spec = specification(chart)
    spec.pop("config")
    spec.pop("width", None)
    st.vega_lite_chart(spec=_adapted(spec) | {"height": height}, width="stretch")


def _adapted(part: Any) -> Any:
    if isinstance(part, list):
        return [_adapted(one) for one in part]
    if isinstance(part, dict):
        adapted = {name: _adapted(value) if name != "datasets" else value for name, value in part.items()}
        if isinstance(adapted.get("legend"), dict):
            adapted["legend"] |= LEGEND
        return adapted
    return GREY if part in (INK, MUTED) else part
