"""Hyperparameters of a cell's trials: parallel coordinates, the response to one of them, and which mattered."""

from __future__ import annotations

import polars as pl
import streamlit as st

from hsray.dashboards.charts import draw
from hsray.dashboards.filters import one_of
from hsray.dashboards.mirrored import chosen, mirror, of_experiment, state
from hsray.dashboards.settings import settings
from hsray.dashboards.sheets import downloads, show
from hsray.dashboards.words import plain
from hsray.leaderboard.charts import parallel_chart, response_chart
from hsray.leaderboard.importance import importance, parallel_coordinates
from hsray.leaderboard.sheet import Sheet

PLACE = ("dataset", "fraction", "official", "fraction_percent", "variant")
MOST_TRIALS = 50  # in the table
MOST_LINES = 150  # more cannot be told apart
NOT_SEARCHED = (*PLACE, "run_id", "name", "state", "mark", "contaminated", "score")


def parameters(experiment: str) -> None:
    """The view of one experiment."""
    trials = chosen(experiment).runs.filter(pl.col("kind") == "trial", pl.col("fraction").is_not_null())
    cells = trials.select("cell", *PLACE).unique().sort("dataset", "official", "fraction_percent", "variant", "cell")
    if not len(cells):
        st.info("no trials yet", icon=":material/tune:")
        return
    names = {row["cell"]: f"{row['dataset']}, {row['fraction']}, {row['variant']}" for row in cells.to_dicts()}
    left, right = st.columns([3, 1])
    with left:
        cell = one_of("Cell", list(names), "cell", words=names.__getitem__)
    sheets = _trials(settings().mirror, state(), experiment, cell)
    if not sheets:
        st.info("the trials of this cell do not differ in any hyperparameter", icon=":material/tune:")
        return
    frame = sheets[0].frame
    searched = [name for name in frame.columns if name not in NOT_SEARCHED]
    with right:
        parameter = one_of("Response to", searched, "parameter")
    left, right = st.columns(2)
    with left:
        st.subheader("Parallel coordinates")
        lines = _telling(frame)
        draw(parallel_chart(lines, searched))
        if len(lines) < len(frame):
            st.caption(f"the {MOST_LINES // 3} best trials and some of the others: {len(lines)} of {len(frame):,}")
    with right:
        st.subheader(plain(f"Response to {parameter}"))
        drawn = frame.with_columns(pl.col("variant").alias("strategy")).drop_nulls([parameter, "score"])
        draw(response_chart(drawn, parameter))
    found = sheets
    if st.toggle("importance", key="importance", bind="query-params", help="PED-ANOVA by Optuna; takes some seconds"):
        found = [*_importance(settings().mirror, state(), experiment, cell), *sheets]
    for sheet in found:
        if len(sheet.frame) or sheet.notes:
            show(sheet, MOST_TRIALS)
    downloads(found, f"{experiment}-hyperparameters")


def _telling(trials: pl.DataFrame) -> pl.DataFrame:
    """At most `MOST_LINES` trials: a third the best, of the others every so many by their scores."""
    if len(trials) <= MOST_LINES:
        return trials
    ranked, best = trials.sort("score", descending=True, nulls_last=True), MOST_LINES // 3
    others = ranked[best:]
    step = len(others) / (MOST_LINES - best)
    return pl.concat([ranked[:best], others[[int(step * number) for number in range(MOST_LINES - best)]]])


def _of_cell(experiment: str, cell: str) -> tuple[pl.DataFrame, pl.LazyFrame]:
    """The runs of a cell and their parameters."""
    runs = of_experiment(experiment).filter(pl.col("cell") == cell)
    ids = runs["run_id"].to_list()
    return runs, mirror().params().filter(pl.col("run_id").is_in(ids))


@st.cache_resource(max_entries=32, show_spinner="reading the trials …")
def _trials(folder: str, state: str, experiment: str, cell: str) -> list[Sheet]:
    return parallel_coordinates(*_of_cell(experiment, cell))


@st.cache_resource(max_entries=32, show_spinner="computing the importance …")
def _importance(folder: str, state: str, experiment: str, cell: str) -> list[Sheet]:
    return importance(*_of_cell(experiment, cell))
