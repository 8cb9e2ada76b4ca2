"""Average ranks over datasets and their critical difference (Demšar 2006, section 3.2.2)."""

from __future__ import annotations

import math
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from hsray.leaderboard.statistics.values import Floats, finite

FEWEST_DATASETS = 6


def average_ranks(scores_DT: ArrayLike) -> Floats:
    """The mean rank of every treatment (T) over the datasets (D): 1 is best, equal scores share their mean rank."""
    scores = finite(scores_DT)
    if scores.ndim != 2:
        raise ValueError(f"scores are datasets × treatments, these have the shape {scores.shape}")
    better = (scores[:, None, :] > scores[:, :, None]).sum(axis=2)
    equal = (scores[:, None, :] == scores[:, :, None]).sum(axis=2)
    return np.asarray((better + (equal + 1) / 2).mean(axis=0), dtype=np.float64)


def critical_difference(treatments: int, datasets: int) -> float | None:
    """How far two average ranks must lie apart to differ at 5 %, by Nemenyi's test; None below six datasets."""
    if treatments < 2:
        raise ValueError(f"a critical difference is between at least two treatments, not {treatments}")
    if datasets < FEWEST_DATASETS:
        return None
    return studentised_range(treatments) * math.sqrt(treatments * (treatments + 1) / (12 * datasets))


@cache
def studentised_range(treatments: int, p: float = 0.95) -> float:
    """The quantile of the studentised range with infinite degrees of freedom; over √2 it is Demšar's table 5."""
    grid = np.linspace(-8, 8, 321)
    normal = NormalDist()
    density = np.exp(-(grid**2) / 2) / math.sqrt(2 * math.pi) * (grid[1] - grid[0])
    below = np.array([normal.cdf(z) for z in grid])
    low, high = 0.0, 16.0
    while (middle := (low + high) / 2) not in {low, high}:
        within = below - np.array([normal.cdf(z - middle) for z in grid])
        low, high = (middle, high) if treatments * float(density @ within ** (treatments - 1)) < p else (low, middle)
    return high
