"""Statistics over seeds: closed forms, scipy, order, units, and what bad input gets."""

from __future__ import annotations

import math
from random import Random

import numpy as np
import pytest
import scipy.stats
from hypothesis import given
from hypothesis import strategies as st

from hsray.leaderboard import statistics
from hsray.leaderboard.statistics.seeds import Statistic, percentiles
from tests.leaderboard.statistics.simulated import QUICK, covered_by_seeds

NAMES: tuple[Statistic, ...] = ("mean", "iqm")
SCORES = st.lists(st.floats(0, 100, allow_subnormal=False), min_size=3, max_size=24)


@pytest.mark.parametrize("seeds", [3, 5, 9])
def test_below_ten_seeds_the_interval_of_the_mean_is_scipys_t(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(70, 2, seeds)
    found = statistics.seed_interval(values, seed=0)
    assert found is not None
    expected = scipy.stats.t.interval(0.95, seeds - 1, values.mean(), scipy.stats.sem(values))
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)
    assert found.method == "Student's t over seeds"


@pytest.mark.parametrize("seeds", [4, 7, 9])
def test_below_ten_seeds_the_interval_of_the_iqm_is_tukeys_and_mclaughlins(seeds: int) -> None:
    values = np.random.default_rng(seeds).normal(70, 2, seeds)
    cut = seeds // 4
    kept = seeds - 2 * cut
    winsorised = np.asarray(scipy.stats.mstats.winsorize(values, limits=(cut / seeds, cut / seeds)))
    error = winsorised.std(ddof=1) * math.sqrt((seeds - 1) / (kept * (kept - 1)))
    expected = scipy.stats.t.interval(0.95, kept - 1, scipy.stats.trim_mean(values, 0.25), error)
    found = statistics.seed_interval(values, "iqm", seed=0)
    assert found is not None
    assert (found.low, found.high) == pytest.approx(expected, rel=1e-12)
    assert "winsorised" in found.method


@QUICK
@given(SCORES)
def test_iqm_is_scipys_trimmed_mean(values: list[float]) -> None:
    assert statistics.iqm(values) == pytest.approx(scipy.stats.trim_mean(values, 0.25), abs=1e-9)


@pytest.mark.parametrize("statistic", NAMES)
def test_three_seeds_make_the_first_interval_and_ten_the_first_bootstrap(statistic: Statistic) -> None:
    values = np.random.default_rng(0).normal(size=12)
    assert statistics.seed_interval(values[:2], statistic, seed=0) is None
    methods = [found.method for n in (3, 9, 10) if (found := statistics.seed_interval(values[:n], statistic, seed=0))]
    assert ["bootstrap" in method for method in methods] == [False, False, True]


@QUICK
@given(SCORES, st.sampled_from(NAMES), st.randoms(use_true_random=False))
def test_order_changes_no_digit(values: list[float], statistic: Statistic, random: Random) -> None:
    shuffled = random.sample(values, len(values))
    assert statistics.seed_interval(values, statistic, seed=3) == statistics.seed_interval(shuffled, statistic, seed=3)
    assert statistics.mean_sd(values) == statistics.mean_sd(shuffled)
    assert statistics.iqm(values) == statistics.iqm(shuffled)


@QUICK
@given(SCORES, st.sampled_from(NAMES))
def test_percent_and_fractions_give_the_same_interval(values: list[float], statistic: Statistic) -> None:
    percent = statistics.seed_interval(values, statistic, seed=3)
    fraction = statistics.seed_interval(np.array(values) / 100, statistic, seed=3)
    assert percent is not None
    assert fraction is not None
    assert (100 * fraction.low, 100 * fraction.high) == pytest.approx((percent.low, percent.high), abs=1e-9)
    assert percent.low <= percent.high


def test_tasks_and_runs_in_any_order_give_one_stratified_interval() -> None:
    random = np.random.default_rng(1)
    scores = random.normal(70, 3, (10, 4))
    shuffled = random.permuted(scores, axis=0)[:, [2, 0, 3, 1]]
    first, second = (statistics.stratified_bootstrap(given, "iqm", seed=5) for given in (scores, shuffled))
    assert first == second
    plain = statistics.stratified_bootstrap(scores, "iqm", seed=5, expand=False)
    assert first.low < plain.low < statistics.iqm(scores) < plain.high < first.high


def test_the_bootstrap_of_one_task_is_that_of_its_resamples() -> None:
    values = np.sort(np.random.default_rng(2).normal(size=11))
    drawn = np.random.default_rng(9).integers(11, size=(500, 11, 1))[..., 0]
    expected = np.quantile(scipy.stats.trim_mean(values[drawn], 0.25, axis=1), [0.025, 0.975])
    found = statistics.stratified_bootstrap(values[:, None], "iqm", resamples=500, seed=9, expand=False)
    assert (found.low, found.high) == pytest.approx(tuple(expected), abs=1e-12)


@QUICK
@given(st.lists(st.floats(-1, 1), min_size=4, max_size=40), st.floats(0.001, 0.4))
def test_percentiles_are_numpys(values: list[float], tail: float) -> None:
    expected = np.quantile(values, [tail, 1 - tail])
    assert percentiles(np.array(values), tail) == pytest.approx(tuple(expected), abs=1e-12)


@pytest.mark.parametrize("values", [[], [1.0, math.nan, 3.0], [1.0, math.inf, 2.0]])
def test_values_that_are_no_scores_are_refused(values: list[float]) -> None:
    calls = [statistics.mean_sd, statistics.iqm, lambda given: statistics.seed_interval(given, seed=0)]
    for call in calls:
        with pytest.raises(ValueError, match="no value is left" if not values else "1 of 3 values are NaN or infinite"):
            call(values)


def test_one_value_has_a_mean_and_no_spread() -> None:
    assert statistics.mean_sd([0.5]) == (0.5, None)
    assert statistics.mean_sd([1, 2, 3, 4]) == (2.5, pytest.approx(np.std([1, 2, 3, 4], ddof=1)))


def test_a_paired_difference_takes_out_what_the_seeds_share() -> None:
    random = np.random.default_rng(4)
    shared = random.normal(0, 10, 5)
    b = 70 + shared
    a = b + np.array([1.0, 1.2, 0.8, 1.1, 0.0])
    found = statistics.paired_difference(a, b, seed=0)
    assert found.mean == pytest.approx(0.82)
    assert (found.seeds, found.wins) == (5, 4)
    assert found.interval is not None
    assert 0 < found.interval.low < found.mean < found.interval.high < 2
    order = random.permutation(5)
    assert statistics.paired_difference(a[order], b[order], seed=0) == found
    back = statistics.paired_difference(b, a, seed=0)
    assert back.interval is not None
    assert (-back.interval.high, -back.interval.low) == pytest.approx((found.interval.low, found.interval.high))
    assert statistics.paired_difference(a[:2], b[:2], seed=0).interval is None
    with pytest.raises(ValueError, match="one score of each a seed"):
        statistics.paired_difference(a, b[:4], seed=0)


def test_probability_of_improvement_counts_ties_half() -> None:
    assert statistics.probability_of_improvement([1, 2, 2], [2]) == (pytest.approx(1 / 3), None)
    assert statistics.probability_of_improvement([5, 6], [1, 2])[0] == 1


@QUICK
@given(st.lists(st.integers(0, 9), min_size=10, max_size=15), st.lists(st.integers(0, 9), min_size=10, max_size=15))
def test_the_probability_of_improvement_is_scipys_u_and_mirrors(a: list[int], b: list[int]) -> None:
    value, ends = statistics.probability_of_improvement(a, b)
    assert value == pytest.approx(scipy.stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)))
    back, back_ends = statistics.probability_of_improvement(b[::-1], a)
    assert ends is not None
    assert back_ends is not None
    assert 0 <= ends.low <= value <= ends.high <= 1
    assert ends.low < ends.high
    assert (back, back_ends.low, back_ends.high) == pytest.approx((1 - value, 1 - ends.high, 1 - ends.low))


def test_a_clean_sweep_is_no_certainty() -> None:
    value, ends = statistics.probability_of_improvement(range(10, 20), range(10))
    assert value == 1
    assert ends is not None
    assert ends.high == 1
    assert 0.6 < ends.low < 0.9


def test_several_tasks_are_surer_than_one() -> None:
    random = np.random.default_rng(3)
    a, b = random.normal(1, 1, (12, 5)), random.normal(0, 1, (12, 5))
    _, one = statistics.probability_of_improvement(a[:, 0], b[:, 0])
    _, five = statistics.probability_of_improvement(a, b)
    assert one is not None
    assert five is not None
    assert five.high - five.low < (one.high - one.low) / 1.8
    assert statistics.probability_of_improvement(a[:, ::-1], b[:, ::-1])[1] == five
    with pytest.raises(ValueError, match="the same tasks"):
        statistics.probability_of_improvement(a, b[:, :2])


@pytest.mark.parametrize("statistic", NAMES)
@pytest.mark.parametrize("seeds", [5, 10])
def test_intervals_over_seeds_cover_what_they_say(seeds: int, statistic: Statistic) -> None:
    """The quick form of tests/reliability/leaderboard/test_coverage.py, which has all sizes and intervals."""
    inside = covered_by_seeds(seeds, statistic, "normal", 1500)
    assert 0.93 - 0.012 <= inside / 1500 <= 0.97 + 0.012
