"""Intervals over seeds: Student's t below ten, the bootstrap from ten on, none below three.

The bootstrap of a handful of values is too short, because it treats them as the whole population: the percentile
interval of the IQM of normal data covers 73 % at three seeds and 90 % at five.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from statistics import NormalDist
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from hsray.leaderboard.statistics.values import LEVEL, Floats, Interval, finite, mean_sd
from hsray.leaderboard.student import t_quantile

FEWEST = 3
BOOTSTRAP_FROM = 10
RESAMPLES = 5000
Statistic = Literal["mean", "iqm"]


def seed_interval(values: ArrayLike, statistic: Statistic = "mean", *, seed: int) -> Interval | None:
    """The 95 % interval of a cell's mean or interquartile mean over its seeds, in the unit of the values.

    None below three values. Below ten, Student's t; for the IQM with the winsorised variance (Tukey & McLaughlin
    1963), which is the ordinary t interval where nothing is cut. From ten on, the bootstrap (`stratified_bootstrap`).
    Raises ValueError for NaN. The order of the values does not matter. Cells of one table may share a `seed`: they
    then share the draws, which costs nothing statistically and is quickest.
    """
    ordered = np.sort(finite(values), axis=None)
    if len(ordered) < FEWEST:
        return None
    if len(ordered) < BOOTSTRAP_FROM:
        return _student(ordered, len(ordered) // 4 if statistic == "iqm" else 0)
    return stratified_bootstrap(ordered[:, None], statistic, seed=seed)


def stratified_bootstrap(
    scores_RT: ArrayLike, statistic: Statistic, *, resamples: int = RESAMPLES, seed: int, expand: bool = True
) -> Interval:
    """The percentile interval over resamples of runs (R) within tasks (T), as rliable draws them.

    `mean` and `iqm` are over runs and tasks together. With ``expand=False`` it is rliable's interval (Agarwal et al.
    2021), which is too short for few runs. By default the percentiles lie further out: `expanded_level` (Hesterberg
    2015).
    """
    scores = np.sort(finite(scores_RT), axis=0)
    if scores.ndim != 2 or len(scores) < 2:
        raise ValueError(f"a bootstrap needs runs × tasks and two runs at least, these have the shape {scores.shape}")
    scores = scores[:, np.lexsort(scores)]
    runs, tasks = scores.shape
    if tasks == 1:
        found_B = _weights(runs, statistic, resamples, seed) @ scores[:, 0]
    else:
        found_B = aggregate(scores[_draws(runs, tasks, resamples, seed), np.arange(tasks)], statistic)
    tail = expanded_level(runs, mean_of_one_task=statistic == "mean" and tasks == 1) if expand else (1 - LEVEL) / 2
    low, high = percentiles(found_B, tail)
    name = "stratified bootstrap over seeds" if tasks > 1 else "bootstrap over seeds"
    return Interval(low, high, f"{name}, {'expanded percentile' if expand else 'percentile'}")


def expanded_level(runs: int, *, mean_of_one_task: bool) -> float:
    """The tail left out at each side: Φ(−√(n/(n−1)) · t), t the 0.975 quantile of Student's t with n − 1 degrees.

    The t makes up for the spread being an estimate, the root for the resamples' variance being (n − 1)/n of the
    unbiased one. The root belongs to the mean of one task: the IQM's resamples vary more than it does, and the spread
    of several tasks is known better than t says, so that with the root both would be too long (97 % at ten runs).
    """
    factor = math.sqrt(runs / (runs - 1)) if mean_of_one_task else 1.0
    return NormalDist().cdf(-factor * t_quantile(runs - 1))


def percentiles(found_B: Floats, tail: float) -> tuple[float, float]:
    """The two quantiles that leave `tail` outside at each side: numpy's linear ones, in a fifth of the time."""
    last = len(found_B) - 1
    place = int(tail * last)
    part = tail * last - place
    ordered = np.partition(found_B, (place, place + 1, last - place - 1, last - place))
    low = ordered[place] + part * (ordered[place + 1] - ordered[place])
    high = ordered[last - place] - part * (ordered[last - place] - ordered[last - place - 1])
    return float(low), float(high)


def aggregate(scores_BRT: Floats, statistic: Statistic) -> Floats:
    """The statistic of every resample: (B, R, T) to (B,)."""
    values_BV = scores_BRT.reshape(len(scores_BRT), -1)
    if statistic == "mean":
        return np.asarray(values_BV.mean(axis=1), dtype=np.float64)
    cut = values_BV.shape[1] // 4
    return np.asarray(np.sort(values_BV, axis=1)[:, cut : values_BV.shape[1] - cut].mean(axis=1), dtype=np.float64)


@dataclass(frozen=True)
class Difference:
    """First less second over shared seeds: mean and interval in the unit given, and on how many seeds the first won."""

    mean: float
    interval: Interval | None
    seeds: int
    wins: int


def paired_difference(a_S: ArrayLike, b_S: ArrayLike, *, seed: int) -> Difference:
    """The mean of a − b over the seeds they share, place by place, with `seed_interval`'s interval. A tie is no win."""
    a, b = finite(a_S), finite(b_S)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"a paired difference needs one score of each a seed, these have shapes {a.shape}, {b.shape}")
    difference = a - b
    interval = seed_interval(difference, "mean", seed=seed)
    return Difference(mean_sd(difference)[0], interval, len(a), int((difference > 0).sum()))


def _student(ordered: Floats, cut: int) -> Interval:
    kept = len(ordered) - 2 * cut
    mean = float(ordered[cut : len(ordered) - cut].mean())
    _, sd = mean_sd(np.clip(ordered, ordered[cut], ordered[-1 - cut]))
    half = t_quantile(kept - 1) * (sd or 0.0) * math.sqrt((len(ordered) - 1) / (kept * (kept - 1)))
    method = "Student's t over seeds" if not cut else "Student's t over seeds, winsorised variance"
    return Interval(mean - half, mean + half, method)


def _draws(runs: int, tasks: int, resamples: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(runs, size=(resamples, runs, tasks))


@lru_cache(maxsize=16)
def _weights(runs: int, statistic: Statistic, resamples: int, seed: int) -> Floats:
    """What every sorted value counts in every resample, (B, R): both statistics are weighted sums of sorted values."""
    drawn_BR = np.sort(_draws(runs, 1, resamples, seed)[..., 0], axis=1)
    cut = runs // 4 if statistic == "iqm" else 0
    kept = drawn_BR[:, cut : runs - cut]
    flat = kept + runs * np.arange(resamples)[:, None]
    return np.bincount(flat.ravel(), minlength=resamples * runs).reshape(resamples, runs) / kept.shape[1]
