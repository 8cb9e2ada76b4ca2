"""What every statistic takes and gives: finite values in, an interval with its method's name out."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

LEVEL = 0.95
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Both ends of an interval, in the unit of the scores, and the method in words a reader of a paper understands."""

    low: float
    high: float
    method: str
    level: float = LEVEL


def finite(values: ArrayLike, what: str = "scores") -> Floats:
    """The values as float64; ValueError where there is none, or one that is NaN or infinite."""
    found = np.asarray(values, dtype=np.float64)
    if not found.size:
        raise ValueError(f"{what}: no value is left, so there is no statistic of them")
    if missing := int(found.size - np.isfinite(found).sum()):
        raise ValueError(
            f"{what}: {missing} of {found.size} values are NaN or infinite; leave them out, and count them"
        )
    return found


def mean_sd(values: ArrayLike) -> tuple[float, float | None]:
    """Mean and standard deviation (n − 1 in the denominator; None for a single value), in the unit of the values."""
    found = finite(values).ravel().tolist()
    mean = math.fsum(found) / len(found)
    if len(found) == 1:
        return mean, None
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in found) / (len(found) - 1))


def iqm(values: ArrayLike) -> float:
    """The interquartile mean: the mean of the middle half, a quarter of the values (rounded down) cut at each end.

    Values of any shape are taken together, as rliable takes runs × tasks (Agarwal et al. 2021, section 4.3).
    """
    ordered = np.sort(finite(values), axis=None)
    cut = len(ordered) // 4
    return float(ordered[cut : len(ordered) - cut].mean())
