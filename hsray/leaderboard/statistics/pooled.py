"""Pooled scores of many confusion matrices at once, and the resampling of test images."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from hsray.leaderboard.statistics.values import Floats
from hsray.scores import METRICS


def pooled_scores(confusion_BKK: ArrayLike, ignore_id: int | None, metric: str) -> Floats:
    """`hsray.scores.scores` of every matrix, (B, K, K) to (B,): fractions of one.

    Classes that stand neither in the labels nor in the predictions of a matrix (a resample without any image of a rare
    class) are left out of that matrix's means, as there. NaN for a matrix without a labelled pixel.
    """
    confusion = np.array(confusion_BKK, dtype=np.float64)
    if metric not in METRICS:
        raise ValueError(f"no metric is called {metric!r}; there are {', '.join(METRICS)}")
    if confusion.ndim != 3 or confusion.shape[1] != confusion.shape[2]:
        raise ValueError(f"confusion matrices are (B, K, K), these have the shape {confusion.shape}")
    ignored = ignore_id is not None and 0 <= ignore_id < confusion.shape[1]
    if ignored:
        confusion[:, ignore_id] = 0
    hits, true, predicted = np.diagonal(confusion, axis1=1, axis2=2), confusion.sum(2), confusion.sum(1)
    pixels = true.sum(1)
    counted = true + predicted > 0
    if metric == "accuracy_micro":
        return _ratio(hits.sum(1), pixels)
    if metric == "accuracy_macro":
        part, whole = hits, true
    elif metric == "f1_macro":
        part, whole = 2 * hits, true + predicted
    else:
        part, whole = hits, true + predicted - hits
        if ignored:
            counted[:, ignore_id] = False
    by_class = np.divide(part, whole, out=np.zeros_like(whole), where=whole > 0)
    return np.where(pixels > 0, _ratio((by_class * counted).sum(1), counted.sum(1)), np.nan)


def labelled_images(confusion_SNKK: ArrayLike, ignore_id: int | None) -> Floats:
    """The images with at least one labelled pixel, as (S, N, K·K) in an order that does not depend on the given one.

    The others change no pooled score. Counts are float64: their sums are exact up to 2^53 pixels (float32: 2^24).
    """
    return _in_order(_counts(confusion_SNKK, ignore_id))


def paired_images(
    confusion_a_SNKK: ArrayLike, confusion_b_SNKK: ArrayLike, ignore_id: int | None
) -> tuple[Floats, Floats]:
    """`labelled_images` of two strategies that share seeds and images: both in one order. ValueError without any."""
    a, b = _counts(confusion_a_SNKK, ignore_id), _counts(confusion_b_SNKK, ignore_id)
    if a.shape != b.shape:
        raise ValueError(f"a pair shares seeds, images and classes, and these have the shapes {a.shape} and {b.shape}")
    both = _in_order(np.concatenate([a, b], axis=2))
    if not both.size:
        raise ValueError("no image has a labelled pixel, so there is nothing to compare")
    return both[..., : a.shape[2]], both[..., a.shape[2] :]


def _counts(confusion_SNKK: ArrayLike, ignore_id: int | None) -> Floats:
    confusion = np.array(confusion_SNKK, dtype=np.float64)
    if confusion.ndim != 4 or confusion.shape[2] != confusion.shape[3]:
        raise ValueError(f"confusion matrices are (seeds, images, K, K), these have the shape {confusion.shape}")
    if not np.isfinite(confusion).all() or (confusion < 0).any():
        raise ValueError("confusion matrices hold counts of pixels, and these hold NaN, infinite or negative ones")
    if ignore_id is not None and 0 <= ignore_id < confusion.shape[2]:
        confusion[:, :, ignore_id] = 0
    return confusion.reshape(*confusion.shape[:2], -1)


def _in_order(flat_SNC: Floats) -> Floats:
    """Seeds by their images whatever these's order, then images by what they are under every seed."""
    flat = flat_SNC[:, flat_SNC.sum(axis=(0, 2)) > 0]
    flat = flat[sorted(range(len(flat)), key=lambda seed: sorted(image.tobytes() for image in flat[seed]))]
    order = sorted(range(flat.shape[1]), key=lambda image: np.ascontiguousarray(flat[:, image]).tobytes())
    return flat[:, order]


def drawn_images(images: int, resamples: int, seed: int) -> Floats:
    """How often every image stands in every resample of as many images, (B, N)."""
    return np.random.default_rng(seed).multinomial(images, np.full(images, 1 / images), size=resamples).astype(float)


def scores_of(pools_BC: Floats, ignore_id: int | None, metric: str) -> Floats:
    """The score of every pool of images: (B, K·K) to (B,)."""
    classes = round(pools_BC.shape[1] ** 0.5)
    return pooled_scores(pools_BC.reshape(-1, classes, classes), ignore_id, metric)


def _ratio(part: Floats, whole: Floats) -> Floats:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)
