"""Intervals over test images, and over test images and seeds together.

A pooled score is no mean over images, so the images are resampled and their confusion matrices added up anew. An image
is the unit that is drawn: one photograph. The blocks of one big scene are no images, because they depend on each other;
a scene of one or a few blocks gets no such interval.

Percentiles of the resampled scores, the usual way, are not used: they cover as little as 55 % (macro F1 of 19 classes,
30 images). A rare class that a handful of images holds makes the pooled macro scores of few images too low (its false
positives count, its hits do not), resampling makes them too low once more, and the percentiles hang that far off. So
the bias that the resamples show is taken off the centre and, being uncertain itself, added to the jackknife's variance
(Efron & Tibshirani 1993, chapters 10 and 11); the ends are Student's t.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hsray.leaderboard.statistics.pooled import drawn_images, labelled_images, scores_of
from hsray.leaderboard.statistics.seeds import FEWEST
from hsray.leaderboard.statistics.values import Floats, Interval
from hsray.leaderboard.student import t_quantile

FEWEST_IMAGES = 30
RESAMPLES = 2000
METHOD = "bootstrap over images, bias-corrected, jackknife variance"
METHOD_BOTH = f"Student's t over seeds with {METHOD}"


def image_interval(confusion_NKK: ArrayLike, ignore_id: int | None, metric: str, *, seed: int) -> Interval | None:
    """The 95 % interval of one model's pooled score over test images, as fractions: how it would do on other images.

    Of several models of one cell, (S, N, K, K), it is that of the mean of their scores, the images drawn for all.
    None below `FEWEST_IMAGES` images with a labelled pixel. Raises ValueError for matrices that hold no counts.
    """
    confusion = np.asarray(confusion_NKK)
    flat = labelled_images(confusion[None] if confusion.ndim == 3 else confusion, ignore_id)
    if flat.shape[1] < FEWEST_IMAGES:
        return None
    mean = float(_scores(flat, ignore_id, metric).mean())
    below, above = _image_arms(flat, _left_out(flat, ignore_id, metric), mean, ignore_id, metric, seed)
    return Interval(max(mean - below, 0.0), min(mean + above, 1.0), METHOD)


def hierarchical_interval(
    confusion_SNKK: ArrayLike, ignore_id: int | None, metric: str, *, seed: int
) -> Interval | None:
    """The 95 % interval of the mean over seeds of the pooled score, over seeds and test images, as fractions.

    None below three seeds or `FEWEST_IMAGES` images. The arms of `image_interval` and those of Student's t over seeds
    are put together by their squares (MOVER: Zou & Donner 2008), because resampling a handful of seeds would be too
    short, and images are drawn for all seeds at once, because all seeds meet the same ones. What the seeds differ by
    on each image stands in both: the jackknife over images says how much it is, and it is taken off the seeds' part.
    """
    flat = labelled_images(confusion_SNKK, ignore_id)
    seeds, images = flat.shape[:2]
    if seeds < FEWEST or images < FEWEST_IMAGES:
        return None
    scores_S, left_out_SN = _scores(flat, ignore_id, metric), _left_out(flat, ignore_id, metric)
    mean = float(scores_S.mean())
    below, above = _image_arms(flat, left_out_SN, mean, ignore_id, metric, seed)
    apart_SN = left_out_SN - left_out_SN.mean(axis=0)
    twice = (images - 1) * float(apart_SN.var(axis=1).sum()) / (seeds - 1)
    arm = t_quantile(seeds - 1) * math.sqrt(max(float(scores_S.var(ddof=1)) - twice, 0.0) / seeds)
    return Interval(max(mean - math.hypot(arm, below), 0.0), min(mean + math.hypot(arm, above), 1.0), METHOD_BOTH)


def _image_arms(
    flat_SNC: Floats, left_out_SN: Floats, mean: float, ignore_id: int | None, metric: str, seed: int
) -> tuple[float, float]:
    """How far the interval over images reaches below and above the mean over seeds."""
    images = flat_SNC.shape[1]
    counts_BN = drawn_images(images, RESAMPLES, seed)
    bias = float(np.mean([scores_of(counts_BN @ flat_NC, ignore_id, metric) for flat_NC in flat_SNC])) - mean
    variance = (images - 1) * float(left_out_SN.mean(axis=0).var())
    half = t_quantile(images - 1) * math.sqrt(variance + bias**2)
    return half + bias, half - bias


def _scores(flat_SNC: Floats, ignore_id: int | None, metric: str) -> Floats:
    return scores_of(flat_SNC.sum(axis=1), ignore_id, metric)


def _left_out(flat_SNC: Floats, ignore_id: int | None, metric: str) -> Floats:
    """The score of every seed without each of the images, (S, N)."""
    return np.stack([scores_of(flat_NC.sum(axis=0) - flat_NC, ignore_id, metric) for flat_NC in flat_SNC])
