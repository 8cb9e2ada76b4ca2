"""Scores by class and confusion matrices of every strategy, summed over the seeds of its finals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import polars as pl

from hsray.leaderboard.chosen import CELL
from hsray.leaderboard.confusions import Confusions
from hsray.scores import jaccard_by_class


@dataclass(frozen=True)
class ClassScores:
    """Of one dataset at one fraction, best strategy first: `confusions` (K, K), pixels summed over images and seeds,
    and `jaccard_K` in percent, the mean over seeds (NaN: the class does not occur). `without`: strategies that left
    no matrices, or those of other classes.
    """

    dataset: str
    fraction: str
    class_names: tuple[str, ...]
    ignore_id: int
    confusions: dict[str, np.ndarray]
    jaccard_K: dict[str, np.ndarray]
    without: list[str]


def class_scores(
    cells: pl.DataFrame, finals: pl.DataFrame, confusions: Callable[[str], Confusions | None]
) -> list[ClassScores]:
    """For every dataset at its largest fraction. `cells` and `finals` as in `Content` and `Chosen.finals`."""
    found = []
    for group in largest_fractions(cells):
        matrices: dict[str, np.ndarray] = {}
        jaccard: dict[str, np.ndarray] = {}
        without: list[str] = []
        first: Confusions | None = None
        for cell in group.iter_rows(named=True):
            same = [pl.col(name) == cell[name] for name in CELL]
            seeds = [one for run_id in finals.filter(*same)["run_id"] if (one := confusions(run_id)) is not None]
            first = first or next(iter(seeds), None)
            alike = [one for one in seeds if first is not None and one.class_names_K == first.class_names_K]
            if not alike or first is None:
                without.append(cell["variant"])
                continue
            pooled_SKK = np.stack([one.confusion_NKK.sum(0) for one in alike])
            pooled_SKK[:, first.ignore_id] = 0
            each_SK = np.stack([jaccard_by_class(one, first.ignore_id) for one in pooled_SKK])
            counted_K = (~np.isnan(each_SK)).sum(0)
            sums_K = np.nansum(each_SK, axis=0)
            jaccard[cell["variant"]] = np.where(counted_K > 0, 100 * sums_K / np.maximum(counted_K, 1), np.nan)
            matrices[cell["variant"]] = pooled_SKK.sum(0)
        if first is not None:
            place = (group["dataset"][0], group["fraction"][0])
            found.append(ClassScores(*place, first.class_names_K, first.ignore_id, matrices, jaccard, without))
    return found


def largest_fractions(cells: pl.DataFrame) -> list[pl.DataFrame]:
    """The cells of every dataset at its largest fraction (an official subset where there is no other), best first."""
    groups = []
    for (_dataset,), group in cells.group_by("dataset", maintain_order=True):
        last = group.sort("official", "fraction_percent", descending=[True, False])["fraction"][-1]
        groups.append(group.filter(pl.col("fraction") == last).sort("jaccard_macro", descending=True))
    return groups
