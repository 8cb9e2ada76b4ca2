"""For programs: JSON, CSV and Parquet, with every column of the frames at full precision."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from io import BytesIO
from typing import Any

import polars as pl

from hsray.leaderboard.sheet import Sheet


def as_json(sheets: Sequence[Sheet]) -> str:
    """{"tables": [{title, columns, rows, notes}]}; a value that is not finite is null."""
    tables = [
        {
            "title": sheet.title,
            "columns": [{"name": one.name, "heading": one.heading, "unit": one.unit} for one in sheet.columns],
            "rows": sheet.frame.to_dicts(),
            "notes": list(sheet.notes),
        }
        for sheet in sheets
    ]
    return dump({"tables": tables})


def dump(content: Any) -> str:
    """As JSON that every reader takes: NaN and infinities, which JSON lacks, are null."""
    return json.dumps(_finite(content), indent=1, ensure_ascii=False, default=str)


def _finite(content: Any) -> Any:
    if isinstance(content, float):
        return content if math.isfinite(content) else None
    if isinstance(content, dict):
        return {str(key): _finite(value) for key, value in content.items()}
    return [_finite(value) for value in content] if isinstance(content, list | tuple) else content


def as_csv(sheets: Sequence[Sheet]) -> str:
    """The frames below one another; of several, the column `table` says which. Notes do not fit into a CSV."""
    frame = one_frame(sheets)
    nested = [name for name, dtype in frame.schema.items() if dtype.is_nested() or dtype in (pl.Object, pl.Binary)]
    flat = [
        pl.Series(name, [None if one is None else json.dumps(one, default=str) for one in frame[name].to_list()])
        for name in nested
    ]
    return frame.with_columns(flat).write_csv().rstrip("\n")


def as_parquet(sheets: Sequence[Sheet]) -> bytes:
    """The frames as one; of several, the column `table` says which."""
    buffer = BytesIO()
    one_frame(sheets).write_parquet(buffer)
    return buffer.getvalue()


def one_frame(sheets: Sequence[Sheet]) -> pl.DataFrame:
    if len(sheets) == 1:
        return sheets[0].frame
    titled = [sheet.frame.select(pl.lit(sheet.title).alias("table"), pl.all()) for sheet in sheets]
    return pl.concat(titled, how="diagonal_relaxed") if titled else pl.DataFrame()
