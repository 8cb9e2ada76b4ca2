"""Compare: two strategies pairwise, what labels buy, what a score costs, and how hyperparameters matter."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl
import streamlit as st

from hsray.dashboards.charts import draw
from hsray.dashboards.filters import newest_first, one_of, values
from hsray.dashboards.mirrored import finals, mirror, of_experiment, some_runs, state
from hsray.dashboards.parameters import parameters
from hsray.dashboards.settings import settings
from hsray.dashboards.sheets import downloads, show
from hsray.dashboards.words import plain
from hsray.leaderboard.charts import HEADINGS, best_so_far_chart, curve_chart, difference_chart, pareto_chart
from hsray.leaderboard.chosen import METRIC_NAMES
from hsray.leaderboard.compare import compare
from hsray.leaderboard.confusions import confusions_of
from hsray.leaderboard.cost import costs
from hsray.leaderboard.curves import curves
from hsray.leaderboard.sheet import Sheet
from hsray.scores import METRICS

VIEWS = ("pairwise", "labels", "cost", "hyperparameters")


def page() -> None:
    st.title("Compare")
    found = some_runs()
    if found is None:
        return
    columns = st.columns([2, 2, 3], vertical_alignment="bottom")
    with columns[0]:
        experiment = one_of("Experiment", newest_first(found), "experiment")
    with columns[1]:
        metric = one_of("Score", METRICS[::-1], "metric", words=METRIC_NAMES.__getitem__)
    with columns[2]:
        view = st.segmented_control("View", VIEWS, default=VIEWS[0], required=True, key="view", bind="query-params")
    if view == "pairwise":
        _pairwise(experiment, metric)
    elif view == "labels":
        _labels(experiment, metric)
    elif view == "cost":
        _cost(experiment, metric)
    else:
        parameters(experiment)


def _pairwise(experiment: str, metric: str) -> None:
    strategies = values(finals(experiment), "strategy")
    if len(strategies) < 2:
        st.info("it takes two strategies with complete finals", icon=":material/compare_arrows:")
        return
    columns = st.columns([2, 2, 3], vertical_alignment="bottom")
    with columns[0]:
        a = one_of("A", strategies, "a")
    with columns[1]:
        b = one_of("B", strategies, "b", first=1)
    with columns[2]:
        images = st.toggle(
            "test over images", key="images", bind="query-params", help="reads every final's confusion matrices"
        )
    if a == b:
        st.info("choose two strategies", icon=":material/compare_arrows:")
        return
    sheets = _compare(settings().mirror, state(), experiment, a, b, metric, images=images)
    rows = pl.concat([sheet.frame for sheet in sheets])
    several = rows["dataset"].n_unique() > 1
    label = pl.concat_str("dataset", "fraction", separator=" at ") if several else pl.col("fraction")
    ends = {"difference_low": "low", "difference_high": "high"}
    drawn = rows.select(label.alias("label"), "difference", *ends).rename(ends).drop_nulls("difference")
    if len(drawn):
        st.subheader(plain(f"{a} minus {b}"))
        draw(difference_chart(drawn), height=90 + 32 * len(drawn))
    _tables(sheets, f"{experiment}-{a}-{b}")


def _labels(experiment: str, metric: str) -> None:
    sheets = _curves(settings().mirror, state(), experiment, metric)
    points = pl.concat([sheet.frame for sheet in sheets if "fraction_percent" in sheet.frame.columns])
    strategies, datasets = values(points, "variant"), points["dataset"].unique(maintain_order=True).to_list()
    if datasets:
        with st.columns([2, 5])[0]:
            dataset = one_of("Dataset", datasets, "dataset")
        st.subheader(plain(dataset))
        drawn = points.filter(pl.col("dataset") == dataset).with_columns(pl.col("variant").alias("strategy"))
        drawn = drawn.rename({"score": metric, "low": f"{metric}_low", "high": f"{metric}_high"})
        draw(curve_chart(drawn, metric, strategies=strategies))
    _tables(sheets, f"{experiment}-labels")


def _cost(experiment: str, metric: str) -> None:
    sheets = _costs(settings().mirror, state(), experiment, metric)
    front = next(sheet.frame for sheet in sheets if "front" in sheet.frame.columns)
    steps = next(sheet.frame for sheet in sheets if {"number", "best"} <= set(sheet.frame.columns))
    places = steps.select("dataset", "fraction").unique(maintain_order=True).drop_nulls().rows()
    if places:
        dataset, fraction = one_of("Dataset and fraction", places, "place", words=" at ".join)
        here = (pl.col("dataset") == dataset) & (pl.col("fraction") == fraction)
        strategies = values(steps, "variant")
        left, right = st.columns(2)
        points = front.filter(here, pl.col("hours") > 0)
        with left:
            st.subheader("Score and cost")
            if len(points):
                points = points.with_columns(pl.col("variant").alias("strategy"), pl.col("hours").alias("cost"))
                draw(pareto_chart(points, score_title=HEADINGS[metric], strategies=strategies))
            else:
                st.caption("no complete final tells its device time")
        with right:
            st.subheader("Best so far")
            drawn = (
                steps.filter(here)
                .drop_nulls("best")
                .with_columns(pl.col("variant").alias("strategy"), pl.col("device_hours").alias("cost"))
            )
            # The steps alone, and where each line ends: there may be thousands of trials.
            better = (pl.col("best") != pl.col("best").shift()).fill_null(value=True).over("strategy")
            last = pl.col("cost") == pl.col("cost").max().over("strategy")
            draw(best_so_far_chart(drawn.filter(better | last), strategies=strategies))
    _tables([sheet for sheet in sheets if sheet.frame is not steps], f"{experiment}-cost")


def _tables(sheets: Sequence[Sheet], name: str) -> None:
    for sheet in sheets:
        show(sheet)
    downloads(list(sheets), name)


@st.cache_resource(max_entries=32, show_spinner="comparing …")
def _compare(folder: str, state: str, experiment: str, a: str, b: str, metric: str, *, images: bool) -> list[Sheet]:
    return compare(of_experiment(experiment), a, b, confusions_of(mirror()) if images else None, (metric,))


@st.cache_resource(max_entries=32, show_spinner="computing the curves …")
def _curves(folder: str, state: str, experiment: str, metric: str) -> list[Sheet]:
    return curves(of_experiment(experiment), metric)


@st.cache_resource(max_entries=32, show_spinner="adding up …")
def _costs(folder: str, state: str, experiment: str, metric: str) -> list[Sheet]:
    return costs(of_experiment(experiment), metric)
