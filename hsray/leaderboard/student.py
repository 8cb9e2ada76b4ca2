"""Quantiles of Student's t, without scipy, whose import would take longer than the whole table."""

from __future__ import annotations

import math
from functools import cache


def t_cdf(t: float, df: int) -> float:
    """P(T ≤ t) for whole degrees of freedom, by their finite sums (Abramowitz & Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(df))
    sine, square = math.sin(angle), math.cos(angle) ** 2
    if df % 2:
        term, total = math.cos(angle), 0.0
        for k in range(1, (df - 1) // 2 + 1):
            total += term
            term *= square * 2 * k / (2 * k + 1)
        return 0.5 + (angle + sine * total) / math.pi
    term, total = 1.0, 0.0
    for k in range(1, df // 2 + 1):
        total += term
        term *= square * (2 * k - 1) / (2 * k)
    return 0.5 + sine * total / 2


@cache
def t_quantile(df: int, p: float = 0.975) -> float:
    """The t with P(T ≤ t) = p, for 0.5 ≤ p < 1, to the precision of a float."""
    if df < 1 or not 0.5 <= p < 1:
        raise ValueError(f"there is no quantile {p} of Student's t with {df} degrees of freedom")
    low, high = 0.0, 1.0
    while t_cdf(high, df) < p:
        high *= 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if t_cdf(middle, df) < p else (low, middle)
    return high
