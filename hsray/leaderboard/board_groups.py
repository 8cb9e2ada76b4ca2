"""The rows of a board by the values of some columns, with a title each."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl


def grouped(rows: pl.DataFrame, by: Sequence[str]) -> list[tuple[str, pl.DataFrame]]:
    """The rows of every combination of these columns, in the order of the rows."""
    if not rows.height:
        return []
    if not by:
        return [("", rows)]
    parts = rows.partition_by(by, as_dict=True, maintain_order=True)
    titles = [", ".join(_in_words(name, one) for name, one in zip(by, key, strict=True)) for key in parts]
    return list(zip(titles, parts.values(), strict=True))


def comparable(rows: pl.DataFrame, *besides: str) -> bool:
    """Whether these rows share dataset and fraction, but for `besides`: else the best of them is the easiest."""
    return all(rows[name].n_unique() == 1 for name in ("dataset", "fraction") if name not in besides)


def _in_words(name: str, value: str | None) -> str:
    if name == "fraction":
        return f"{value} of the training images"
    return str(value) if name == "dataset" else f"{name} {value}"
