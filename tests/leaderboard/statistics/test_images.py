"""Pooled scores of many matrices, and the intervals over images and over seeds and images."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hsray.leaderboard import statistics
from hsray.scores import METRICS, scores
from tests.leaderboard.statistics.simulated import QUICK
from tests.leaderboard.statistics.test_tests import confusions

COUNTS = arrays(np.int64, st.tuples(st.integers(1, 4), st.just(4), st.just(4)), elements=st.integers(0, 3))


@QUICK
@given(COUNTS, st.sampled_from([None, 0, 3, 255]))
def test_every_row_is_the_score_of_its_matrix(confusion_BKK: np.ndarray, ignore_id: int | None) -> None:
    """Also with classes that are absent, rows of the ignored class, and matrices without a labelled pixel."""
    expected = [scores(one, ignore_id) for one in confusion_BKK]
    for metric in METRICS:
        found = statistics.pooled_scores(confusion_BKK, ignore_id, metric)
        assert found == pytest.approx([one[metric] for one in expected], abs=1e-12, nan_ok=True)


@pytest.mark.parametrize("metric", METRICS)
def test_alike_images_leave_nothing_open(metric: str) -> None:
    alike = np.repeat(confusions(1, 1, accuracy=0.7, seed=0)[0], 40, axis=0)
    found = statistics.image_interval(alike, None, metric, seed=1)
    assert found is not None
    exact = scores(alike.sum(0))[metric]
    assert (found.low, found.high) == pytest.approx((exact, exact), abs=1e-9)


def test_micro_accuracy_over_images_of_one_size_is_a_mean_and_gets_its_t_interval() -> None:
    given = confusions(1, 40, accuracy=0.7, seed=3)[0]
    of_images = np.trace(given, axis1=1, axis2=2) / 200
    t = statistics.seed_interval(of_images[:9], seed=0)
    assert t is not None
    found = statistics.image_interval(given, None, "accuracy_micro", seed=1)
    assert found is not None
    error = of_images.std(ddof=1) / np.sqrt(40)
    assert (found.high + found.low) / 2 == pytest.approx(of_images.mean(), abs=error / 10)
    assert (found.high - found.low) / 2 == pytest.approx(2.0227 * error, rel=0.01)


@pytest.mark.parametrize("metric", METRICS)
def test_the_order_of_seeds_and_images_changes_no_digit(metric: str) -> None:
    given = confusions(4, 40, accuracy=0.8, seed=5)
    random = np.random.default_rng(0)
    turned = given[random.permutation(4)][:, random.permutation(40)]
    first = statistics.image_interval(given[0], 2, metric, seed=1)
    assert first == statistics.image_interval(given[0][::-1], 2, metric, seed=1)
    both = statistics.hierarchical_interval(given, 2, metric, seed=1)
    assert both == statistics.hierarchical_interval(turned, 2, metric, seed=1)
    over_images = statistics.image_interval(given, 2, metric, seed=1)
    assert over_images == statistics.image_interval(turned, 2, metric, seed=1)


@QUICK
@given(st.integers(0, 2**31), st.sampled_from(METRICS))
def test_both_together_are_wider_than_images_alone_and_hold_the_mean(seed: int, metric: str) -> None:
    given = confusions(3, 32, accuracy=0.8, seed=seed, pixels=20)
    mean = statistics.pooled_scores(given.sum(1), None, metric).mean()
    images = statistics.image_interval(given, None, metric, seed=1)
    both = statistics.hierarchical_interval(given, None, metric, seed=1)
    assert images is not None
    assert both is not None
    assert 0 <= both.low <= images.low + 1e-12
    assert images.low <= mean + 1e-12
    assert mean <= images.high + 1e-12
    assert images.high - 1e-12 <= both.high <= 1
    assert "Student's t over seeds" in both.method
    assert "images" in both.method


def test_too_few_images_or_seeds_get_none() -> None:
    given = confusions(3, 30, accuracy=0.8, seed=1)
    assert statistics.image_interval(given[0], None, "f1_macro", seed=1) is not None
    assert statistics.image_interval(given[0, :29], None, "f1_macro", seed=1) is None
    assert statistics.hierarchical_interval(given[:2], None, "f1_macro", seed=1) is None
    assert statistics.hierarchical_interval(given[:, :29], None, "f1_macro", seed=1) is None
    unlabelled = given.copy()
    unlabelled[:, :5] = 0
    assert statistics.image_interval(unlabelled[0], None, "f1_macro", seed=1) is None


@pytest.mark.parametrize("wrong", [-1.0, np.nan])
def test_matrices_that_hold_no_counts_are_refused(wrong: float) -> None:
    given = confusions(1, 30, accuracy=0.8, seed=1)[0].astype(float)
    given[3, 0, 0] = wrong
    with pytest.raises(ValueError, match="counts of pixels"):
        statistics.image_interval(given, None, "f1_macro", seed=1)
    with pytest.raises(ValueError, match="no metric is called 'iou'"):
        statistics.image_interval(np.abs(np.nan_to_num(given)), None, "iou", seed=1)
    with pytest.raises(ValueError, match="confusion matrices are"):
        statistics.image_interval(np.ones((3, 4)), None, "f1_macro", seed=1)


def test_three_hundred_images_of_nineteen_classes_take_well_under_a_second() -> None:
    given = np.random.default_rng(0).poisson(20, (300, 19, 19))
    started = time.process_time()
    statistics.image_interval(given, 0, "jaccard_macro", seed=1)
    assert time.process_time() - started < 1


def test_alike_images_leave_the_seeds_interval() -> None:
    """Every image the same: nothing is open but the seeds, and the t interval of their scores comes out."""
    given = np.repeat(confusions(5, 1, accuracy=0.7, seed=0), 40, axis=1)
    found = statistics.hierarchical_interval(given, None, "f1_macro", seed=1)
    seeds = statistics.seed_interval(statistics.pooled_scores(given.sum(1), None, "f1_macro"), seed=1)
    assert found is not None
    assert seeds is not None
    assert (found.low, found.high) == pytest.approx((seeds.low, seeds.high), abs=1e-9)
