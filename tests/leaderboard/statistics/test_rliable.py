"""Equality with rliable, whose values were computed once and stored with the versions that gave them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from hsray.leaderboard import statistics
from hsray.leaderboard.statistics.seeds import Statistic, aggregate, percentiles

STORED = json.loads((Path(__file__).parent / "rliable.json").read_text())
NAMES: tuple[Statistic, ...] = ("mean", "iqm")
CASES = [pytest.param(case, id=f"{len(case['x'])} runs, {len(case['x'][0])} tasks") for case in STORED["cases"]]


@pytest.mark.parametrize("case", CASES)
def test_point_estimates_are_rliables(case: dict) -> None:
    assert statistics.iqm(case["x"]) == pytest.approx(case["iqm"], abs=1e-12)
    assert statistics.mean_sd(case["x"])[0] == pytest.approx(case["mean"], abs=1e-12)
    value, _ = statistics.probability_of_improvement(case["x"], case["y"])
    assert value == pytest.approx(case["improvement"], abs=1e-12)


@pytest.mark.parametrize("statistic", NAMES)
@pytest.mark.parametrize("case", CASES)
def test_the_same_resamples_give_rliables_interval(case: dict, statistic: Statistic) -> None:
    scores = np.array(case["x"])
    random = np.random.RandomState(STORED["seed"])  # its stream is frozen; rliable draws from it, one resample a time
    drawn = np.stack([random.choice(len(scores), scores.shape) for _ in range(STORED["resamples"])])
    found_B = aggregate(scores[drawn, np.arange(scores.shape[1])], statistic)
    assert percentiles(found_B, 0.025) == pytest.approx(case[f"{statistic}_interval"], abs=1e-12)


@pytest.mark.parametrize("statistic", NAMES)
@pytest.mark.parametrize("case", CASES[:3])  # of three runs there are ten resamples, and an end jumps between them
def test_own_resamples_give_rliables_interval_but_for_chance(case: dict, statistic: Statistic) -> None:
    """Both ends are quantiles of at least 1,000 draws, of which 2.5 % lie outside: good to some 8 % of the width."""
    low, high = case[f"{statistic}_interval"]
    found = statistics.stratified_bootstrap(case["x"], statistic, seed=1, expand=False)
    assert (found.low, found.high) == pytest.approx((low, high), abs=0.1 * (high - low))
    assert "expanded" not in found.method
