"""Mean and interval over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from hsray.leaderboard.student import t_quantile

METHOD = "mean and 95 % interval over seeds (Student's t)"
FEWEST = 3


def mean_interval(values: Sequence[float]) -> tuple[float, float | None, float | None]:
    """Mean, lower and upper end of its 95 % interval by Student's t; no interval below three values."""
    mean = statistics.fmean(values)
    if len(values) < FEWEST:
        return mean, None, None
    half = t_quantile(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half
