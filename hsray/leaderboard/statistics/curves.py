"""Curves of score against labels and against cost. Scores and costs come out in the unit they went in."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hsray.leaderboard.statistics.values import Floats, finite


def area_under_curve(x: ArrayLike, y: ArrayLike, ends: tuple[float, float] | None = None) -> float:
    """The mean height of a curve over log2 of the fraction of labels (trapezia), in the unit of the score.

    ``ends`` are the common ends of the curves that are compared, (least, most); by default the curve's own. Raises
    ValueError for a curve of fewer than two fractions, one that does not reach both ends, and a fraction that is given
    twice or is not positive.
    """
    x_P, y_P = _curve(x, y)
    least, most = ends or (x_P[0], x_P[-1])
    if not x_P[0] <= least < most <= x_P[-1]:
        raise ValueError(f"the curve runs from {x_P[0]:g} to {x_P[-1]:g}: no area between {least:g} and {most:g}")
    at = np.concatenate([[least], x_P[(x_P > least) & (x_P < most)], [most]])
    heights = np.interp(np.log2(at), np.log2(x_P), y_P)
    widths = np.diff(np.log2(at))
    return float(((heights[1:] + heights[:-1]) / 2 * widths).sum() / widths.sum())


def labels_to_match(x: ArrayLike, y: ArrayLike, target: float) -> float | None:
    """The smallest fraction at which the curve reaches the target, in the unit of x; None where it never does.

    Linear between the points over the logarithm of x; of several crossings the first. The smallest fraction itself
    where the curve starts above the target.
    """
    x_P, y_P = _curve(x, y)
    reached = np.flatnonzero(y_P >= target)
    if not len(reached):
        return None
    first = reached[0]
    if first == 0:
        return float(x_P[0])
    part = (target - y_P[first - 1]) / (y_P[first] - y_P[first - 1])
    return float(x_P[first - 1] * (x_P[first] / x_P[first - 1]) ** part)


def best_so_far(cost: ArrayLike, score: ArrayLike) -> tuple[Floats, Floats]:
    """The budget spent, ascending, and the best score known by then. `cost` is what had been spent by each score."""
    spent, scores = _pairs(cost, score)
    order = np.lexsort([scores, spent])
    return spent[order], np.maximum.accumulate(scores[order])


def cost_to_reach(cost: ArrayLike, score: ArrayLike, target: float) -> float | None:
    """The budget spent by the first score at or above the target; None where there is none."""
    spent, scores = _pairs(cost, score)
    reached = spent[scores >= target]
    return float(reached.min()) if len(reached) else None


def pareto(score: ArrayLike, cost: ArrayLike) -> NDArray[np.bool_]:
    """Which points no other beats: none scores as high for less, or higher for as much. Equal points stand together."""
    scores, costs = _pairs(score, cost)
    order = np.lexsort([-scores, costs])
    best_cheaper = np.concatenate([[-np.inf], np.maximum.accumulate(scores[order])[:-1]])
    mask = np.zeros(len(scores), dtype=bool)
    mask[order] = scores[order] > best_cheaper
    front = {(scores[place], costs[place]) for place in np.flatnonzero(mask)}
    return np.array([pair in front for pair in zip(scores, costs, strict=True)], dtype=bool)


def _curve(x: ArrayLike, y: ArrayLike) -> tuple[Floats, Floats]:
    x_P, y_P = _pairs(x, y)
    order = np.argsort(x_P)
    if x_P[order[0]] <= 0:
        raise ValueError(f"fractions of labels are above zero, and one is {x_P[order[0]]:g}")
    if (np.diff(x_P[order]) == 0).any():
        raise ValueError("a fraction of labels is given twice; take the mean of its scores first")
    return x_P[order], y_P[order]


def _pairs(first: ArrayLike, second: ArrayLike) -> tuple[Floats, Floats]:
    one, other = finite(first), finite(second)
    if one.shape != other.shape or one.ndim != 1:
        raise ValueError(
            f"the two lists belong together place by place, and have the shapes {one.shape}, {other.shape}"
        )
    return one, other
