"""Runs: every mirrored run with its page in MLflow, and the way to Ray's dashboard."""

from __future__ import annotations

import polars as pl
import streamlit as st

from hsray.dashboards.filters import newest_first, one_of, some_of, values
from hsray.dashboards.mirrored import some_runs
from hsray.dashboards.settings import settings
from hsray.leaderboard.mirror.address import source_name
from hsray.tracking.client import redacted

MOST_RUNS = 500


def page() -> None:
    st.title("Runs")
    told = settings()
    server = server_of(told.uri)
    with st.container(horizontal=True):
        if server:
            st.link_button("MLflow", server, icon=":material/open_in_new:")
        if told.ray:
            st.link_button("Ray dashboard", told.ray, icon=":material/open_in_new:")
    if not server:
        st.caption(f"To see runs in MLflow itself: `mlflow ui --backend-store-uri {redacted(told.uri)}`")
    found = some_runs()
    if found is None:
        return
    columns = st.columns(4)
    with columns[0]:
        experiment = one_of("Experiment", newest_first(found), "experiment")
    found = found.filter(pl.col("experiment") == experiment)
    with columns[1]:
        kinds = some_of("Kind", values(found, "kind"), "kind")
    with columns[2]:
        states = some_of("State", values(found, "state"), "state")
    with columns[3]:
        cells = some_of("Cell", values(found, "cell_name"), "cell")
    for column, wanted in (("kind", kinds), ("state", states), ("cell_name", cells)):
        if wanted:
            found = found.filter(pl.col(column).is_in(wanted))
    _table(found.sort("started_ms", descending=True, nulls_last=True), server)


def server_of(uri: str) -> str | None:
    """The address that a browser can open, without user and password; None where MLflow is no server."""
    return source_name(uri) if uri.startswith(("http://", "https://")) else None


def _table(found: pl.DataFrame, server: str | None) -> None:
    shown = found.head(MOST_RUNS).select(
        pl.format("{}/#/experiments/{}/runs/{}", pl.lit(server), "experiment_id", "run_id").alias("mlflow")
        if server
        else pl.col("run_id").alias("mlflow"),
        "kind", "cell_name", "seed", "state",
        (100 * pl.col("validation_jaccard_macro")).alias("val"),
        (100 * pl.col("jaccard_macro")).alias("test"),
        pl.from_epoch("started_ms", time_unit="ms").alias("started"),
        pl.coalesce("problem", "reason").fill_null("").alias("reason"),
    )  # fmt: skip
    link = st.column_config.LinkColumn("MLflow", display_text="open") if server else st.column_config.TextColumn("run")
    st.dataframe(
        shown,
        hide_index=True,
        key="runs",
        column_config={
            "mlflow": link,
            "cell_name": "cell",
            "val": st.column_config.NumberColumn("val. Jaccard %", format="%.2f"),
            "test": st.column_config.NumberColumn("test Jaccard %", format="%.2f"),
            "started": st.column_config.DatetimeColumn("started (UTC)", format="YYYY-MM-DD HH:mm"),
        },
    )
    st.caption(f"{min(len(found), MOST_RUNS):,} of {len(found):,} runs, the newest first")
