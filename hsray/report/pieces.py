"""Small pieces of the page that its sections share."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

import polars as pl


def places(frame: pl.DataFrame) -> Iterator[tuple[tuple[str, str], pl.DataFrame]]:
    for (dataset, fraction), group in frame.group_by("dataset", "fraction", maintain_order=True):
        yield (str(dataset), str(fraction)), group


def row(figures: list[str], kind: str = "") -> str:
    return f'<div class="figures {kind}">{"".join(figures)}</div>' if figures else ""


def folded(summary: str, inside: str) -> str:
    return f"<details><summary>{escape(summary)}</summary>{inside}</details>"


def empty(reason: str) -> str:
    return f'<p class="empty">{escape(reason)}.</p>'
