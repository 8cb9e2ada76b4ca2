"""Filters whose values live in the address, so that a link reproduces a view."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

import polars as pl
import streamlit as st

T = TypeVar("T")


def one_of(label: str, options: Sequence[T], key: str, *, words: Callable[[T], str] = str, first: int = 0) -> T:
    """One value of several; the address tells it unless it is the first."""
    return st.selectbox(label, list(options), index=first, format_func=words, key=key, bind="query-params")


def some_of(label: str, options: Sequence[str], key: str) -> list[str]:
    """Some values; none chosen means all."""
    return st.multiselect(label, list(options), key=key, bind="query-params", placeholder="all")


def newest_first(runs: pl.DataFrame) -> list[str]:
    """Experiments, the last that ran first."""
    last = runs.group_by("experiment").agg(pl.col("started_ms").max())
    return last.sort("started_ms", "experiment", descending=[True, False], nulls_last=True)["experiment"].to_list()


def values(runs: pl.DataFrame, column: str) -> list[str]:
    """What stands in a column, in order."""
    return runs[column].drop_nulls().unique().sort().to_list()


def fractions(runs: pl.DataFrame) -> list[str]:
    """Labels of fractions, the smallest first, official subsets last."""
    found = runs.select("fraction", "official", "fraction_percent").drop_nulls("fraction").unique()
    return found.sort("official", "fraction_percent")["fraction"].to_list()
