"""Curves against labels and budget, and Pareto fronts: closed forms and properties."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsray.leaderboard import statistics
from tests.leaderboard.statistics.simulated import QUICK

POINTS = st.lists(st.tuples(st.integers(0, 8), st.integers(0, 8)), min_size=1, max_size=15)


def test_a_straight_line_over_doublings_has_its_middle_height() -> None:
    assert statistics.area_under_curve([0.25, 0.5, 1.0], [40, 50, 60]) == pytest.approx(50)
    assert statistics.area_under_curve([1.0, 0.25], [60, 40]) == pytest.approx(50)
    assert statistics.area_under_curve([25, 50, 100], [40, 50, 60], ends=(50, 100)) == pytest.approx(55)
    assert statistics.area_under_curve([0.1, 1], [40, 50], ends=(math.sqrt(0.1), 1)) == pytest.approx(47.5)


@QUICK
@given(st.lists(st.floats(0, 100), min_size=4, max_size=4), st.floats(0.5, 50))
def test_the_area_is_a_mean_height_whatever_the_unit_of_x(heights: list[float], scale: float) -> None:
    x = np.array([0.05, 0.1, 0.3, 1.0])
    area = statistics.area_under_curve(x, heights)
    assert min(heights) - 1e-9 <= area <= max(heights) + 1e-9
    assert statistics.area_under_curve(scale * x, heights) == pytest.approx(area, abs=1e-9)


@pytest.mark.parametrize(
    ("x", "ends", "said"),
    [
        ([1.0], None, "no area between"),
        ([0.1, 1.0], (0.05, 1.0), "runs from 0.1 to 1"),
        ([0.1, 0.1], None, "given twice"),
        ([0.0, 1.0], None, "above zero"),
        ([0.1, math.nan], None, "NaN"),
    ],
)
def test_curves_that_have_no_area_are_refused(x: list[float], ends: tuple[float, float] | None, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        statistics.area_under_curve(x, [50.0] * len(x), ends)


def test_labels_to_match_lie_on_the_logarithmic_line() -> None:
    assert statistics.labels_to_match([0.1, 0.4], [50, 60], 55) == pytest.approx(0.2)
    assert statistics.labels_to_match([0.1, 0.4], [50, 60], 60) == pytest.approx(0.4)
    assert statistics.labels_to_match([0.1, 0.4], [50, 60], 45) == 0.1
    assert statistics.labels_to_match([0.1, 0.4], [50, 60], 60.1) is None


def test_of_several_crossings_the_first_counts() -> None:
    assert statistics.labels_to_match([10, 20, 40, 80], [50, 60, 50, 70], 55) == pytest.approx(10 * math.sqrt(2))


@QUICK
@given(st.lists(st.floats(0, 100), min_size=5, max_size=5), st.floats(0, 100))
def test_what_matches_is_on_the_curve(heights: list[float], target: float) -> None:
    x = np.array([1.0, 2, 4, 8, 16])
    found = statistics.labels_to_match(x, heights, target)
    assert (found is None) == (max(heights) < target)
    if found is not None:
        at = np.interp(np.log2(found), np.log2(x), heights)
        assert at == pytest.approx(target, abs=1e-6) or (found == 1 and at >= target)


def test_the_budget_of_the_first_score_that_is_good_enough() -> None:
    cost, score = [3.0, 1.0, 2.0, 4.0], [0.6, 0.5, 0.4, 0.7]
    spent, best = statistics.best_so_far(cost, score)
    assert spent.tolist() == [1, 2, 3, 4]
    assert best.tolist() == [0.5, 0.5, 0.6, 0.7]
    assert statistics.cost_to_reach(cost, score, 0.6) == 3
    assert statistics.cost_to_reach(cost, score, 0.8) is None
    with pytest.raises(ValueError, match="place by place"):
        statistics.best_so_far(cost, score[:2])


@QUICK
@given(POINTS)
def test_best_so_far_rises_and_agrees_with_the_cost_to_reach(points: list[tuple[int, int]]) -> None:
    cost, score = np.array(points).T
    spent, best = statistics.best_so_far(cost, score)
    assert (np.diff(spent) >= 0).all()
    assert (np.diff(best) >= 0).all()
    for target in range(9):
        reached = spent[best >= target]
        assert statistics.cost_to_reach(cost, score, target) == (reached[0] if len(reached) else None)


@QUICK
@given(POINTS)
def test_the_front_is_what_nothing_beats(points: list[tuple[int, int]]) -> None:
    score, cost = np.array(points).T
    beaten = [any(t >= s and d <= c and (t > s or d < c) for t, d in points) for s, c in zip(score, cost, strict=True)]
    assert statistics.pareto(score, cost).tolist() == [not one for one in beaten]
