from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from hsray.leaderboard.student import t_quantile


@settings(deadline=None)
@given(st.integers(1, 500), st.floats(0.6, 0.9999))
def test_our_quantiles_of_students_t_are_scipys(df: int, p: float) -> None:
    assert t_quantile(df, p) == pytest.approx(stats.t.ppf(p, df), rel=1e-9, abs=1e-9)
