from __future__ import annotations

from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.leaderboard import statistics
from hsray.leaderboard.cost import costs
from hsray.leaderboard.table import table
from tests.leaderboard.frames import finals, frame, run, trials


def test_cost_to_reach_a_score() -> None:
    runs = frame(
        *trials(0.5, 0.94, 0.4, 1.0, features_seconds=1800.0),
        *trials(0.9, None, 0.2, 0.96, strategy="vit"),
        *trials(0.1, 0.2, strategy="fc"),
        *trials(9.0, strategy="seen", contaminated=True),
        run("trial", 9, 0.99, strategy="fc", state="running"),
    )
    reach = costs(runs)[0]
    assert reach.frame.select(
        "variant", "target", "trials", "hours", "best", "trials_in_all", "hours_in_all"
    ).rows() == [
        ("seen", 95, 1, 1, 900, 1, 1),
        ("vit", 95, 4, 4, 96, 4, 4),
        ("runet", 95, 4, 4.5, 100, 4, 4.5),
        ("fc", 95, None, None, 20, 2, 2),
    ]
    assert any("left out, trials that have not ended: 1" in note for note in reach.notes)
    lower = costs(runs, target=90)[0].frame
    assert dict(lower.select("variant", "trials").iter_rows()) == {"runet": 2, "vit": 1, "fc": None, "seen": 1}


def test_trials_count_in_the_order_they_ended() -> None:
    rows = trials(0.5, 0.9)
    rows[0]["ended_ms"] = 10**6  # began first, ended last
    found = costs(frame(*rows))[3].frame
    assert found.select("number", "device_hours", "best").rows() == [(1, 1, 90), (2, 2, 90)]
    # Frames of `load` do not know the end.
    found = costs(frame(*rows).drop("ended_ms", "source", "experiment_id"))[3].frame
    assert found["best"].to_list() == pytest.approx([50, 90])


def test_the_front_leaves_out_what_costs_more_for_less_and_what_is_contaminated() -> None:
    runs = frame(
        *trials(0.5), *finals(0.5, features_seconds=3600.0),
        *trials(0.5, 0.5, 0.5, strategy="dear"), *finals(0.4, strategy="dear"),
        *finals(0.3, strategy="cheap"), *finals(0.9, strategy="seen", contaminated=True),
    )  # fmt: skip
    front = costs(runs)[1]
    assert front.frame.select("variant", "hours", "front", "ranked").rows() == [
        ("cheap", 1, True, True), ("seen", 1, False, False), ("runet", 3, True, True), ("dear", 4, False, True),
    ]  # fmt: skip
    assert front.frame["score"].to_list() == pytest.approx([30, 90, 50, 40])


@pytest.mark.parametrize("unknown", [None, float("nan")])
def test_an_unknown_cost_is_not_free(unknown: float | None) -> None:
    runs = frame(
        *trials(0.9), *finals(0.5),
        *trials(0.9, strategy="vit", device_seconds=unknown), *finals(0.4, strategy="vit", device_seconds=unknown),
        *trials(0.9, strategy="fc", device_seconds=unknown), *finals(0.3, strategy="fc"),
    )  # fmt: skip
    reach, front, hours, _ = costs(runs)
    assert dict(reach.frame.select("variant", "hours").iter_rows()) == {"runet": 1, "vit": None, "fc": None}
    assert front.frame.select("variant", "hours", "front").rows() == [
        ("fc", 1, True), ("runet", 2, True), ("vit", None, False),
    ]  # fmt: skip
    for sheet in (front, hours):
        assert "3 runs without a device time, counted as none" in sheet.notes
    spent = dict(table(runs).rows.select("strategy", "device_seconds").iter_rows())
    assert spent == {"runet": 7200, "vit": None, "fc": 3600}


def test_where_nothing_can_be_ranked_the_front_is_empty() -> None:
    for unranked in ({"device_seconds": None}, {"contaminated": True}):
        front = costs(frame(*finals(0.5, **unranked), *finals(0.4, strategy="vit", **unranked)))[1].frame
        assert front["front"].to_list() == [False, False]


def test_hours_by_strategy() -> None:
    runs = frame(
        *[row for fraction in (0.5, 1.0) for row in trials(0.5, 0.6, fraction=fraction, features_seconds=7200.0)],
        *trials(0.5, state="pruned", dataset="pavia", features_seconds=3600.0), *finals(0.5, 0.6),
        run("trial", 3, None, state="failed", device_seconds=float("nan")),
        run("trial", 4, 0.1, strategy="fc", superseded=True),
        run("trial", 5, 0.1, strategy="fc", device_seconds=1800.0),
    )  # fmt: skip
    hours = costs(runs)[2].frame
    assert hours["seconds"].to_list() == [36000, 1800]
    hours = hours.select(name for name in hours.columns if "seconds" not in name)
    assert hours.rows(named=True) == [
        {
            "strategy": "runet", "cells": 3, "complete": 4, "pruned": 1, "failed": 1, "finals": 2, "trial_hours": 5.0,
            "final_hours": 2.0, "feature_hours": 3.0, "hours": 10.0,
        },
        {
            "strategy": "fc", "cells": 1, "complete": 1, "pruned": 0, "failed": 0, "finals": 0, "trial_hours": 0.5,
            "final_hours": 0.0, "feature_hours": 0.0, "hours": 0.5,
        },
    ]  # fmt: skip


def test_nothing_is_no_error() -> None:
    assert [sheet.frame.height for sheet in costs(frame())] == [0, 0, 0, 0]
    assert [sheet.frame.height for sheet in costs(frame(*trials(None, None)))] == [1, 0, 1, 1]
    searched = costs(frame(*trials(0.5, fraction=None)))
    assert any("search the fraction" in note for note in searched[0].notes)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.none(), st.floats(0, 1)), min_size=1, max_size=12), st.floats(1, 99), st.randoms())
def test_reaching_is_what_the_statistics_say(scores: list[float | None], target: float, random: Any) -> None:
    rows = trials(*scores)
    sheets = costs(frame(*random.sample(rows, len(rows))), target=target)
    known = [(place + 1.0, 100 * score) for place, score in enumerate(scores) if score is not None]
    hours, reached = [hour for hour, _ in known], [score for _, score in known]
    expected = statistics.cost_to_reach(hours, reached, target) if known else None
    assert sheets[0].frame["hours"].to_list() == [expected]
    best = sheets[3].frame.filter(pl.col("best").is_not_null())["best"]
    assert best.is_sorted()
    assert best.max() == max(reached, default=None)
