"""A table to show: a frame, what its columns mean, what must be known besides. All that is printed is one of these."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import polars as pl

from hsray.errors import RequestError

FORMATS = ("table", "json", "csv", "parquet", "markdown", "latex", "html")


@dataclass(frozen=True)
class Column:
    """How one column of a frame is shown.

    `name` is the frame's, `heading` the reader's, `unit` stands behind the heading (seconds, "s", without `decimals`
    are shown as durations). `best` marks the best (bold) and the next value (underlined) of the sheet. `ends` names the
    columns that hold an interval's ends, null where there is none. `mark` names a column with footnote signs (‡, †)
    that stand behind the value, `ranked` a boolean one as `Sheet.ranked` is, for this column alone. `signed` shows a
    plus before what is positive.
    """

    name: str
    heading: str
    decimals: int | None = None
    best: Literal["high", "low"] | None = None
    ends: tuple[str, str] | None = None
    align: Literal["left", "right"] = "right"
    unit: str = ""
    mark: str | None = None
    ranked: str | None = None
    signed: bool = False


@dataclass(frozen=True)
class Sheet:
    """One table. `frame` may hold more than `columns` show: data formats write all of it, the others what is shown.

    `notes` stand below. `ranked` names a boolean column: where it is false (contaminated) a row is never marked best.
    """

    title: str
    frame: pl.DataFrame
    columns: tuple[Column, ...]
    notes: tuple[str, ...] = ()
    ranked: str | None = None


def render_sheets(sheets: Sequence[Sheet], format: str = "table", *, width: int = 160, colour: bool = False) -> str:
    """The sheets as text. `width` (characters) and `colour` (bold, underlined by escape codes) concern `table` alone.

    Raises:
        RequestError: the format is not known, or is parquet, which is no text (`to_parquet`).
    """
    checked(format, [name for name in FORMATS if name != "parquet"])
    if format == "table":
        from hsray.leaderboard.formats.text import as_text

        return as_text(sheets, width, colour=colour)
    return _writer(format)(sheets)


def to_parquet(sheets: Sequence[Sheet]) -> bytes:
    """The sheets' frames as one Parquet file; of several, the column `table` holds the title."""
    from hsray.leaderboard.formats.data import as_parquet

    return as_parquet(sheets)


def checked(format: str, formats: Sequence[str] = FORMATS) -> str:
    """The format, if it is one of these. Raises RequestError, naming them."""
    if format not in formats:
        what = "parquet is no text" if format == "parquet" else f"unknown format '{format}'"
        raise RequestError(what, where="--format", do=f"take one of: {', '.join(formats)}")
    return format


def _writer(format: str) -> Callable[[Sequence[Sheet]], str]:
    if format == "json":
        from hsray.leaderboard.formats.data import as_json as writer
    elif format == "csv":
        from hsray.leaderboard.formats.data import as_csv as writer
    elif format == "markdown":
        from hsray.leaderboard.formats.markdown import as_markdown as writer
    elif format == "latex":
        from hsray.leaderboard.formats.latex import as_latex as writer
    else:
        from hsray.leaderboard.formats.html import as_html as writer
    return writer
