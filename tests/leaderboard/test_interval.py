from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hsray.leaderboard.interval import mean_interval
from hsray.leaderboard.student import t_quantile


@given(st.lists(st.floats(0, 100), min_size=3, max_size=31))
def test_equal_to_scipys_interval(values: list[float]) -> None:
    mean, low, high = mean_interval(values)
    assert mean == pytest.approx(np.mean(values))
    spread = stats.sem(values)
    if spread > 1e-9:
        expected = stats.t.interval(0.95, len(values) - 1, loc=np.mean(values), scale=spread)
        assert (low, high) == pytest.approx(expected)


@pytest.mark.parametrize("values", [[1.0], [1.0, 2.0]])
def test_no_interval_below_three(values: list[float]) -> None:
    assert mean_interval(values)[1:] == (None, None)


@settings(deadline=None)
@given(st.integers(1, 500), st.floats(0.6, 0.9999))
def test_our_quantiles_of_students_t_are_scipys(df: int, p: float) -> None:
    assert t_quantile(df, p) == pytest.approx(stats.t.ppf(p, df), rel=1e-9, abs=1e-9)
