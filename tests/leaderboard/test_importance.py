from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest

from hsray.leaderboard.importance import FEWEST, importance, parallel_coordinates
from tests.leaderboard.frames import finals, frame, params, run, trials

TRIALS = 40


def searched(**given: Any) -> tuple[list[dict[str, Any]], pl.DataFrame]:
    """Trials whose score follows from the learning rate alone, best at 1e-3, and their parameters."""
    generator = np.random.default_rng(0)
    lr = 10 ** generator.uniform(-5, -1, TRIALS)
    rows = trials(*(0.9 - 0.1 * abs(np.log10(lr) + 3)), **given)
    adapter = generator.choice(["frozen", "lora"], TRIALS).tolist()
    found = params(
        rows,
        lr=lr.tolist(),
        adapter=adapter,
        **{"lora.rank": [int(generator.choice([4, 16])) if one == "lora" else None for one in adapter]},
        dropout=generator.uniform(0, 0.5, TRIALS).tolist(),
        batch=[8] * TRIALS,
        seed=list(range(TRIALS)),
    )
    return rows, found


def test_what_the_score_follows_from_is_most_important() -> None:
    rows, found = searched()
    sheet = importance(frame(*rows, *finals(0.5)), found)[0]
    assert set(sheet.frame["key"]) == {"lr", "adapter", "lora.rank", "dropout"}
    assert dict(sheet.frame.select("key", "kind").iter_rows()) == {
        "lr": "log", "adapter": "choice", "lora.rank": "choice", "dropout": "linear",
    }  # fmt: skip
    assert sheet.frame["key"][0] == "lr"
    assert sheet.frame["importance"][0] > 60
    assert sheet.frame["importance"].sum() == pytest.approx(100)
    assert sheet.frame["importance"].is_sorted(descending=True)


def test_the_same_runs_in_any_order_give_the_same_to_the_last_digit() -> None:
    rows, found = searched()
    expected = importance(frame(*rows), found)
    turned = importance(frame(*rows[::-1]), found.sample(fraction=1, shuffle=True, seed=1))
    assert all(one.frame.equals(other.frame) for one, other in zip(expected, turned, strict=True))


def test_few_trials_give_a_note_and_pruned_ones_count() -> None:
    rows, found = searched()
    few = importance(frame(*rows[: FEWEST - 1]), found)[0]
    assert few.frame.is_empty()
    assert any(
        f"fewer than {FEWEST} trials that have a score: pines 100 % runet ({FEWEST - 1})" in note for note in few.notes
    )
    rows[FEWEST - 1]["state"] = "pruned"
    assert importance(frame(*rows[:FEWEST]), found)[0].frame.height == 4
    rows[FEWEST - 1]["state"] = "failed"
    left = importance(frame(*rows[:FEWEST], run("trial", 99, 0.5)), found)[0]
    assert left.frame.is_empty()
    assert any("left out, trials without a score: 1" in note for note in left.notes)
    assert any("left out, trials without parameters: 1" in note for note in left.notes)


def test_responses_by_decade_and_adapter() -> None:
    rows = trials(0.1, 0.2, 0.3, 0.4, 0.5)
    rows[1]["state"] = "pruned"
    found = params(
        rows, lr=["0.001", "1e-3", "0.0099", "0.01", "fast"], adapter=["lora", "lora", "full", "lora", "full"]
    )
    _, rate, adapter = importance(frame(*rows), found)
    assert rate.frame.select("bin", "trials", "pruned", "median", "best").rows() == [
        ("1e-3 ≤ lr < 1e-2", 3, 1, 20, pytest.approx(30)), ("1e-2 ≤ lr < 1e-1", 1, 0, 40, 40),
    ]  # fmt: skip
    assert any("left out, trials whose learning rate is no positive number: 1" in note for note in rate.notes)
    assert adapter.frame.select("bin", "trials", "median", "best").rows() == [("full", 2, 40, 50), ("lora", 3, 20, 40)]


def test_parallel_coordinates_hold_numbers_where_all_are() -> None:
    rows, found = searched()
    [sheet] = parallel_coordinates(frame(*rows), found)
    assert sheet.frame.height == TRIALS
    assert {"lr", "adapter", "lora.rank", "dropout"} <= set(sheet.frame.columns)
    assert not {"batch", "seed"} & set(sheet.frame.columns)
    assert sheet.frame["lr"].dtype.is_float()
    assert sheet.frame["lora.rank"].null_count() == (sheet.frame["adapter"] == "frozen").sum()
    assert sheet.frame["score"].is_sorted(descending=True)


def test_hostile_names_and_nothing_at_all() -> None:
    rows = trials(*np.linspace(0.1, 0.9, 20))
    found = params(
        rows, score=list(range(20)), name=list(range(20)), **{"a b": list(range(20))}, inf=["inf", "nan"] * 10
    )
    sheets = importance(frame(*rows), found)
    assert set(sheets[0].frame["key"]) == {"score", "name", "a b", "inf"}
    [wide] = parallel_coordinates(frame(*rows), found)
    assert wide.frame.height == 20
    assert {"hyperparameter score", "hyperparameter name", "a b", "inf"} < set(wide.frame.columns)
    assert [sheet.frame.height for sheet in importance(frame(), params([]))] == [0, 0, 0]
    assert parallel_coordinates(frame(), params([])) == []
