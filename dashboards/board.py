"""Leaderboard: the board with filters that live in the address."""

from __future__ import annotations

from dataclasses import replace

import polars as pl
import streamlit as st

from hsray.dashboards.filters import fractions, newest_first, one_of, some_of, values
from hsray.dashboards.mirrored import mirror, runs, some_runs, state
from hsray.dashboards.settings import settings
from hsray.dashboards.sheets import downloads, show
from hsray.leaderboard.board_sheets import View, board_sheets
from hsray.leaderboard.chosen import METRIC_NAMES
from hsray.leaderboard.confusions import confusions_of
from hsray.leaderboard.table import Board, table
from hsray.scores import METRICS

ALL = "all experiments"
INTERVALS = {"seeds": "seeds", "images": "test images", "both": "seeds and images"}


def page() -> None:
    st.title("Leaderboard")
    found = some_runs()
    if found is None:
        return
    columns = st.columns([2, 2, 2])
    with columns[0]:
        experiment = one_of("Experiment", [*newest_first(found), ALL], "experiment")
    with columns[1]:
        metric = one_of("Order by", METRICS[::-1], "metric", words=METRIC_NAMES.__getitem__)
    with columns[2]:
        interval = one_of("95 % interval over", list(INTERVALS), "interval", words=INTERVALS.__getitem__)
    whole = _board(settings().mirror, state(), experiment, interval)
    rows = _filtered(whole.rows)
    left_out = [f"the filters leave {len(rows):,} of {len(whole.rows):,} cells"] if len(rows) < len(whole.rows) else []
    board = replace(whole, rows=rows, notes=[*left_out, *whole.notes])  # the cached one stays as it is
    sheets = board_sheets(board, View(metric=metric))
    for sheet in sheets:
        show(sheet)
    downloads(sheets, f"leaderboard-{experiment.replace(' ', '-')}")


def _filtered(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows that the filters leave. Only what differs can be filtered by."""
    options = {name: values(rows, name) for name in ("dataset", "task", "strategy", "family")}
    options["fraction"] = fractions(rows)
    # One that an address names stays, so that a link shows the same while runs come and go.
    offered = {name: found for name, found in options.items() if len(found) > 1 or name in st.query_params}
    if not offered:
        return rows
    for column, (name, found) in zip(st.columns(len(offered)), offered.items(), strict=True):
        with column:
            wanted = some_of(name.capitalize(), found, name)
        if wanted:
            rows = rows.filter(pl.col(name).is_in(wanted))
    return rows


@st.cache_resource(max_entries=16, show_spinner="computing the board …")
def _board(folder: str, state: str, experiment: str, interval: str) -> Board:
    found = runs()
    assert found is not None
    if experiment != ALL:
        found = found.filter(pl.col("experiment") == experiment)
    over_images = interval != "seeds"
    return table(found, interval=interval, confusions=confusions_of(mirror()) if over_images else None)  # type: ignore[arg-type]
