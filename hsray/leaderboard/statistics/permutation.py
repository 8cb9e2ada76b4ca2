"""Permutation tests between two strategies, and Holm's correction for many of them."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hsray.leaderboard.statistics.pooled import paired_images, scores_of
from hsray.leaderboard.statistics.values import Floats, finite

FLIPS = 4000
EXACT = 12  # up to this many units every one of the 2^units flips is tried
FEWEST_SEEDS = 8


def image_permutation_test(
    confusion_a_SNKK: ArrayLike, confusion_b_SNKK: ArrayLike, ignore_id: int | None, metric: str, *, seed: int
) -> float:
    """The two-sided p value of no difference in pooled score, meant over seeds, between two strategies.

    Seeds and images of `a` and `b` belong together place by place. Where the strategies do not differ on an image, it
    makes no odds whose matrices are whose: a draw swaps the two on a random set of images and adds the matrices up
    anew. An image is swapped for all seeds or for none, because what makes an image suit one strategy does so under
    every seed. All flips up to twelve images, otherwise 4,000 drawn ones and p = (1 + count) / (1 + draws)
    (Phipson & Smyth 2010).

    It speaks about these trained models on other images of the kind, not about other seeds: of alike strategies whose
    seeds differ it calls more than 5 % different. Read it beside the difference over seeds.
    """
    flat_a, flat_b = paired_images(confusion_a_SNKK, confusion_b_SNKK, ignore_id)
    flips_FN = np.concatenate([np.zeros((1, flat_a.shape[1])), _flips(flat_a.shape[1], seed)])
    found_F = np.zeros(len(flips_FN))
    for one_a, one_b in zip(flat_a, flat_b, strict=True):
        moved = flips_FN @ (one_b - one_a)
        for sign, pool in ((1, one_a.sum(0) + moved), (-1, one_b.sum(0) - moved)):
            found_F += sign * scores_of(pool, ignore_id, metric)
    return _p_value(found_F[1:], found_F[0], exact=flat_a.shape[1] <= EXACT)


def seed_permutation_test(a_S: ArrayLike, b_S: ArrayLike) -> float | None:
    """The two-sided p value of no difference over shared seeds, by sign flips of the differences.

    None below eight seeds, where even the clearest difference could hardly be significant. All flips up to twelve
    seeds, otherwise 4,000 drawn ones from a fixed start.
    """
    a, b = finite(a_S), finite(b_S)
    if a.shape != b.shape or a.ndim != 1:
        raise ValueError(f"a paired test needs one score of each a seed, these have the shapes {a.shape} and {b.shape}")
    if len(a) < FEWEST_SEEDS:
        return None
    difference = a - b
    difference = difference[np.lexsort([difference, np.abs(difference)])]
    signs = 1 - 2 * _flips(len(a), seed=0)
    return _p_value(signs @ difference, float(difference.sum()), exact=len(a) <= EXACT)


def holm(p_values: ArrayLike) -> Floats:
    """Holm's (1979) adjusted p values, in the given order: each at most 1, and never less than a smaller one's."""
    p = finite(p_values, "p values")
    if p.ndim != 1 or (p < 0).any() or (p > 1).any():
        raise ValueError("p values are a list of numbers between 0 and 1")
    order = np.argsort(p, kind="stable")
    adjusted = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)), 1.0)
    return np.asarray(adjusted[np.argsort(order)], dtype=np.float64)


def _flips(units: int, seed: int) -> Floats:
    """Rows of zeros and ones: every one there is, or a drawn sample of them."""
    if units <= EXACT:
        return (np.arange(2**units)[:, None] >> np.arange(units) & 1).astype(np.float64)
    return np.random.default_rng(seed).integers(2, size=(FLIPS, units)).astype(np.float64)


def _p_value(found_F: Floats, observed: float, *, exact: bool) -> float:
    """The share of flips at least as far from zero; rounding must not make a tie look smaller."""
    as_far = int((np.abs(found_F) >= abs(observed) * (1 - 1e-9) - 1e-12).sum())
    return as_far / len(found_F) if exact else (1 + as_far) / (1 + len(found_F))
