"""Mean and interval over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

METHOD = "mean and 95 % interval over seeds (Student's t)"
FEWEST = 3


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean, lower and upper end of its 95 % interval by Student's t; no interval below three values."""
    mean = statistics.fmean(values)
    if len(values) < FEWEST:
        return mean, None, None
    from scipy.special import stdtrit

    half = float(stdtrit(len(values) - 1, 0.975)) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half
