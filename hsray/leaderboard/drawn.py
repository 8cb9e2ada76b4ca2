"""What is drawn as one strategy: the rows of a board, named so that no two different cells share a line."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

from hsray.leaderboard.chosen import CELL, MARK, Runs, choose


def drawn_rows(rows: pl.DataFrame, runs: Runs) -> pl.DataFrame:
    """`Board.rows` of these runs with the strategy's further axes, and ‡ where it is contaminated, in `strategy`."""
    variants = choose(runs).runs.select(*CELL, "variant").unique(CELL, keep="first", maintain_order=True)
    mark = pl.when("contaminated").then(pl.lit(f" {MARK}")).otherwise(pl.lit(""))
    named = rows.join(variants, on=CELL, how="left", maintain_order="left")
    return named.with_columns((pl.col("variant") + mark).alias("strategy"))


def numbered(rows: pl.DataFrame, variants: Sequence[str]) -> list[str]:
    """The names of these rows at the places of their variants: contaminated here, a variant keeps its colour."""
    here = set(rows["strategy"])
    names = [variant if variant in here else f"{variant} {MARK}" for variant in variants]
    return names + sorted(here - set(names))
