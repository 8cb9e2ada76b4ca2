"""The statistics of the leaderboard: numpy arrays in, numbers out, no frames and no files.

Scores go in and come out in the unit given; statistics of confusion matrices are fractions of one. NaN raises
ValueError: callers leave such values out and count them. Every draw starts from a `seed` of the caller, and no result
depends on the order of seeds, images or tasks.
"""

from __future__ import annotations

from hsray.leaderboard.statistics.curves import area_under_curve, best_so_far, cost_to_reach, labels_to_match, pareto
from hsray.leaderboard.statistics.images import FEWEST_IMAGES, hierarchical_interval, image_interval
from hsray.leaderboard.statistics.improvement import probability_of_improvement
from hsray.leaderboard.statistics.permutation import FEWEST_SEEDS, holm, image_permutation_test, seed_permutation_test
from hsray.leaderboard.statistics.pooled import pooled_scores
from hsray.leaderboard.statistics.ranks import FEWEST_DATASETS, average_ranks, critical_difference
from hsray.leaderboard.statistics.seeds import (
    FEWEST,
    Difference,
    paired_difference,
    seed_interval,
    stratified_bootstrap,
)
from hsray.leaderboard.statistics.values import LEVEL, Interval, iqm, mean_sd

__all__ = [
    "FEWEST",
    "FEWEST_DATASETS",
    "FEWEST_IMAGES",
    "FEWEST_SEEDS",
    "LEVEL",
    "Difference",
    "Interval",
    "area_under_curve",
    "average_ranks",
    "best_so_far",
    "cost_to_reach",
    "critical_difference",
    "hierarchical_interval",
    "holm",
    "image_interval",
    "image_permutation_test",
    "iqm",
    "labels_to_match",
    "mean_sd",
    "paired_difference",
    "pareto",
    "pooled_scores",
    "probability_of_improvement",
    "seed_interval",
    "seed_permutation_test",
    "stratified_bootstrap",
]
