"""Strategies over all datasets: average rank, and HS3-Bench's average and worst case."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import polars as pl

from hsray.leaderboard import statistics
from hsray.leaderboard.chosen import CONTAMINATED, MARK, METRIC_NAMES, SHORT_NAMES, Runs, choose
from hsray.leaderboard.sheet import Column, Sheet
from hsray.scores import METRICS

RANKS_FROM = 2  # datasets
DIGITS = 9  # means are rounded, so that the order in which threads added them up cannot show


def overall(runs: Runs, metric: str = "jaccard_macro") -> list[Sheet]:
    """For every task and fraction with at least two datasets: each strategy's average and worst score (percent) over
    the datasets in every metric (HS3-Bench, arXiv 2409.11205), and its average rank over the datasets by `metric`.

    A strategy that lacks a dataset has neither and is named in the notes. One that is contaminated on any of the
    datasets is shown and not ranked.
    """
    chosen = choose(runs)
    finals, notes = chosen.finals(METRICS)
    cells = (
        finals.group_by("task", "official", "fraction_percent", "fraction", "variant", "dataset")
        .agg(
            *(pl.col(name).mean().round(DIGITS) for name in METRICS),
            pl.col("contaminated").any(),
            pl.col("seed").n_unique().alias("seeds"),
        )
        .sort("task", "official", "fraction_percent", "variant", "dataset")
    )
    sheets, single = [], []
    for (task, _, fraction), group in cells.group_by("task", "official", "fraction", maintain_order=True):
        datasets = group["dataset"].unique().sort().to_list()
        if len(datasets) < RANKS_FROM:
            single.append(f"{fraction} ({datasets[0]})")
        else:
            sheets.append(_sheet(f"{task or 'all'}, {fraction} of the training images", group, datasets, metric))
    if single:
        notes.append(f"one dataset alone, so nothing to average: {', '.join(single)}")
    below = (*notes, *chosen.notes)
    if not sheets:
        return [Sheet("over all datasets", pl.DataFrame(), (), below or ("no final is complete",))]
    last = sheets[-1]
    return [*sheets[:-1], Sheet(last.title, last.frame, last.columns, (*last.notes, *below), last.ranked)]


def _sheet(title: str, group: pl.DataFrame, datasets: Sequence[str], metric: str) -> Sheet:
    counted = group.group_by("variant", maintain_order=True).agg(
        pl.len().alias("datasets"),
        pl.col("contaminated").any(),
        pl.col("seeds").min().alias("fewest_seeds"),
        *(pl.col(name).mean().round(DIGITS).alias(f"{name}_average") for name in METRICS),
        *(pl.col(name).min().alias(f"{name}_worst") for name in METRICS),
    )
    whole = counted.filter(pl.col("datasets") == len(datasets))
    ranked = whole.filter(~pl.col("contaminated"))["variant"].to_list()
    notes = [CONTAMINATED] if whole["contaminated"].any() else []
    notes.append(f"average and worst case of the means over {len(datasets)} datasets: {', '.join(datasets)}")
    if missing := counted.filter(pl.col("datasets") < len(datasets)).select("variant", "datasets").rows():
        notes.append(f"left out, for they lack datasets: {', '.join(f'{one} (has {count})' for one, count in missing)}")
    ranks, said = _ranks(group, ranked, metric)
    frame = whole.join(ranks, on="variant", how="left", maintain_order="left").with_columns(
        (~pl.col("contaminated")).alias("ranked"),
        pl.when("contaminated").then(pl.lit(MARK)).otherwise(pl.lit("")).alias("mark"),
    )
    frame = frame.sort(f"{metric}_average", "variant", descending=[True, False])
    columns: list[Column] = [Column("variant", "strategy", align="left", mark="mark")]
    for name in METRICS:
        columns.append(Column(f"{name}_average", f"{SHORT_NAMES[name]}, average", 2, best="high", unit="%"))
        columns.append(Column(f"{name}_worst", "worst", 2, best="high", unit="%"))
    columns.append(Column("average_rank", "average rank", 2, best="low"))
    columns.append(Column("fewest_seeds", "fewest seeds"))
    return Sheet(f"over {len(datasets)} datasets: {title}", frame, tuple(columns), (*notes, *said), "ranked")


def _ranks(group: pl.DataFrame, ranked: Sequence[str], metric: str) -> tuple[pl.DataFrame, list[str]]:
    schema: dict[str, Any] = {"variant": pl.String, "average_rank": pl.Float64}
    if len(ranked) < 2:
        return pl.DataFrame(schema=schema), ["no ranks: fewer than two strategies can be ranked"]
    wide = group.filter(pl.col("variant").is_in(list(ranked))).pivot("variant", index="dataset", values=metric)
    scores_DT = wide.select(ranked).to_numpy()
    ranks = np.asarray(statistics.average_ranks(scores_DT), dtype=float)
    said = [f"average rank by {METRIC_NAMES[metric]} over the datasets; 1 is best, ties share the mean of their ranks"]
    distance = statistics.critical_difference(len(ranked), len(scores_DT))
    if distance is None:
        said.append(f"no critical difference: it takes six datasets, these are {len(scores_DT)}")
    else:
        said.append(f"average ranks nearer than {distance:.2f} do not differ at 5 % (Nemenyi's critical difference)")
    return pl.DataFrame({"variant": list(ranked), "average_rank": ranks}, schema=schema), said
