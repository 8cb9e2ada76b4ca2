"""Permutation tests, Holm's correction, ranks and their critical difference, against scipy and closed forms."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hsray.leaderboard import statistics
from hsray.leaderboard.statistics.ranks import studentised_range
from tests.leaderboard.statistics.simulated import QUICK


def confusions(seeds: int, images: int, *, accuracy: float, seed: int, pixels: int = 200) -> np.ndarray:
    """(S, N, 3, 3): every image has its own three classes' pixels, and each model finds `accuracy` of them."""
    random = np.random.default_rng(seed)
    true = np.random.default_rng(images).multinomial(pixels, [0.5, 0.3, 0.2], size=(images,))
    right = random.binomial(np.broadcast_to(true, (seeds, images, 3)), accuracy)
    found = np.zeros((seeds, images, 3, 3), dtype=np.int64)
    for k in range(3):
        found[:, :, k, k] = right[..., k]
        found[:, :, k, (k + 1) % 3] = true[:, k] - right[..., k]
    return found


@pytest.mark.parametrize("seeds", [8, 10])
def test_the_test_over_seeds_is_scipys(seeds: int) -> None:
    random = np.random.default_rng(seeds)
    a, b = random.normal(0.5, 1, seeds), random.normal(0, 1, seeds)
    expected = scipy.stats.permutation_test(
        (a - b,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative="two-sided"
    ).pvalue
    assert statistics.seed_permutation_test(a, b) == pytest.approx(expected, rel=1e-12)


def test_the_test_over_seeds_needs_eight_and_knows_no_order() -> None:
    random = np.random.default_rng(0)
    a, b = random.normal(0.6, 1, 13), random.normal(0, 1, 13)
    assert statistics.seed_permutation_test(a[:7], b[:7]) is None
    assert statistics.seed_permutation_test(range(1, 9), [0] * 8) == 2 / 2**8
    order = random.permutation(13)
    drawn = statistics.seed_permutation_test(a, b)
    assert drawn is not None
    assert drawn == statistics.seed_permutation_test(a[order], b[order])
    exact = scipy.stats.permutation_test((a - b,), np.mean, permutation_type="samples", n_resamples=2**13).pvalue
    assert drawn == pytest.approx(exact, abs=4 * math.sqrt(exact / 4000))


def test_no_difference_at_all_is_certain() -> None:
    same = confusions(2, 15, accuracy=0.8, seed=1)
    assert statistics.image_permutation_test(same, same, None, "jaccard_macro", seed=0) == 1
    assert statistics.seed_permutation_test([0.1] * 9, [0.1] * 9) == 1


@pytest.mark.parametrize("metric", ["accuracy_micro", "jaccard_macro"])
@pytest.mark.parametrize("images", [9, 30])
def test_the_test_over_images_finds_a_difference_and_knows_no_order(images: int, metric: str) -> None:
    a, b = confusions(3, images, accuracy=0.85, seed=1), confusions(3, images, accuracy=0.8, seed=2)
    p = statistics.image_permutation_test(a, b, None, metric, seed=7)
    assert p == pytest.approx(2 / 2**9 if images == 9 else 1 / 4001)
    close = confusions(3, images, accuracy=0.85, seed=2)
    p = statistics.image_permutation_test(a, close, None, metric, seed=7)
    assert 0.05 < p <= 1
    order = np.random.default_rng(0).permutation(images)
    turned = [given[[2, 0, 1]][:, order] for given in (a, close)]
    assert statistics.image_permutation_test(turned[0], turned[1], None, metric, seed=7) == p


def test_images_without_labels_change_nothing() -> None:
    a, b = confusions(2, 20, accuracy=0.8, seed=1), confusions(2, 20, accuracy=0.81, seed=2)
    empty = np.zeros((2, 3, 3, 3), dtype=np.int64)
    empty[..., 2, :] = 50  # only the ignored class
    grown = [np.concatenate([empty, given], axis=1) for given in (a, b)]
    first = statistics.image_permutation_test(a, b, 2, "f1_macro", seed=7)
    assert first == statistics.image_permutation_test(grown[0], grown[1], 2, "f1_macro", seed=7)


def test_a_pair_that_is_none_is_refused() -> None:
    a = confusions(2, 20, accuracy=0.8, seed=1)
    with pytest.raises(ValueError, match="a pair shares seeds, images and classes"):
        statistics.image_permutation_test(a, a[:, :10], None, "f1_macro", seed=7)
    with pytest.raises(ValueError, match="no image has a labelled pixel"):
        statistics.image_permutation_test(0 * a, 0 * a, None, "f1_macro", seed=7)


def test_holm_on_a_worked_example() -> None:
    assert statistics.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])


@QUICK
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_lies_between_the_plain_and_bonferronis_and_keeps_the_order(p: list[float]) -> None:
    adjusted = statistics.holm(p)
    assert all(adjusted >= p)
    assert all(adjusted <= np.minimum(1, np.array(p) * len(p)) + 1e-15)
    assert min(adjusted) == pytest.approx(min(1, min(p) * len(p)))
    assert all(np.diff(adjusted[np.argsort(p)]) >= 0)


def test_holm_takes_probabilities_only() -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        statistics.holm([0.5, 1.2])


@QUICK
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 2**31))
def test_average_ranks_are_scipys(datasets: int, treatments: int, seed: int) -> None:
    scores = np.random.default_rng(seed).integers(0, 4, (datasets, treatments))
    expected = scipy.stats.rankdata(-scores, axis=1).mean(axis=0)
    assert statistics.average_ranks(scores) == pytest.approx(expected)


@pytest.mark.parametrize("treatments", [2, 3, 5, 10, 25])
def test_the_studentised_range_is_scipys(treatments: int) -> None:
    expected = scipy.stats.studentized_range.ppf(0.95, treatments, np.inf)
    assert studentised_range(treatments) == pytest.approx(expected, abs=1e-6)


def test_the_critical_difference_is_demsars_example() -> None:
    """Demšar (2006), section 3.2.2: four classifiers over fourteen data sets, 2.569 √(4·5 / (6·14)) = 1.25."""
    assert statistics.critical_difference(4, 14) == pytest.approx(1.25, abs=0.005)
    assert statistics.critical_difference(4, 5) is None
    with pytest.raises(ValueError, match="at least two"):
        statistics.critical_difference(1, 10)
