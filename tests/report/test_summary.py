"""What the summary claims, and when."""

from __future__ import annotations

from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.leaderboard.compare import SCHEMA, compare_all
from hsray.leaderboard.table import table
from hsray.report.summary import best_sentences, cost_sentence, label_sentences, seeds_sentence
from tests.leaderboard.frames import finals, frame

CELL: dict[str, Any] = {
    **dict.fromkeys(("dataset", "fraction", "variant"), pl.String),
    "contaminated": pl.Boolean,
    "official": pl.Boolean,
    "fraction_percent": pl.Float64,
    "seeds": pl.Int64,
    **dict.fromkeys(("jaccard_macro", "jaccard_macro_low", "jaccard_macro_high"), pl.Float64),
}
PLACE = {"dataset": "hyko2", "fraction": "100 %", "fraction_percent": 100.0, "official": False}


def cells(*rows: dict[str, Any]) -> pl.DataFrame:
    given = [PLACE | {"contaminated": False, "seeds": 5} | row for row in rows]
    return pl.DataFrame(given, schema=CELL)


def cell(name: str, score: float, half: float | None = 1.0, **more: Any) -> dict[str, Any]:
    ends = {} if half is None else {"jaccard_macro_low": score - half, "jaccard_macro_high": score + half}
    return {"variant": name, "jaccard_macro": score} | ends | more


def pair(a: str, b: str, difference: float, half: float | None, p: float | None = None) -> dict[str, Any]:
    ends = {} if half is None else {"difference_low": difference - half, "difference_high": difference + half}
    return {**PLACE, "a": a, "b": b, "difference": difference, "p_images_holm": p} | ends


def pairs(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame([{name: row.get(name) for name in SCHEMA} for row in rows], schema=SCHEMA)


TWO = cells(cell("a", 60.0), cell("b", 50.0))


@pytest.mark.parametrize("flipped", [False, True])
def test_better_is_said_where_interval_and_test_agree(flipped: bool) -> None:
    row = pair("b", "a", -10.0, 2.0, 0.01) if flipped else pair("a", "b", 10.0, 2.0, 0.01)
    [said] = best_sentences(TWO, pairs(row))
    assert (
        "It is better than b (+10.00 points; 95 % interval +8.00 to +12.00; test over images p = 0.010 after Holm)"
        in said
    )


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (pair("a", "b", 10.0, 12.0, 0.5), "do not tell it apart from b"),
        (pair("a", "b", 10.0, 12.0), "do not tell it apart from b"),
        (pair("a", "b", 10.0, 2.0, 0.2), "do not tell it apart from b"),  # the interval alone is not enough
        (pair("a", "b", 10.0, 12.0, 0.001), "between these very runs; whether other seeds would show it is open"),
        (pair("a", "b", 10.0, None, 0.001), "between these very runs; whether other seeds would show it is open"),
        (pair("a", "b", 10.0, None, 0.2), "Whether it is better than b"),
        (pair("a", "b", 10.0, None), "no interval with fewer than three shared seeds"),
        (pair("a", "other", 10.0, 2.0), "no seed in common"),
        (
            pair("a", "b", 10.0, 2.0),
            "Its interval against b (+10.00 points; 95 % interval +8.00 to +12.00) leaves zero out, uncorrected for "
            "the number of comparisons; no test was possible.",
        ),
        (
            pair("a", "b", -2.0, 1.0),
            "On the seeds that both have, b (−2.00 points; 95 % interval −3.00 to −1.00) scored higher.",
        ),
        (pair("b", "a", 2.0, 1.0, 0.01), "On the seeds that both have, b (−2.00 points"),
    ],
)
def test_no_more_is_said_than_the_figures_say(row: dict[str, Any], words: str) -> None:
    [said] = best_sentences(TWO, pairs(row))
    assert words in said
    assert "It is better" not in said


@given(
    difference=st.floats(-20, 20),
    half=st.none() | st.floats(0, 30),
    p=st.none() | st.floats(0, 1),
)
@settings(max_examples=80, deadline=None)
def test_never_better_without_an_interval_above_zero_and_a_test(
    difference: float, half: float | None, p: float | None
) -> None:
    [said] = best_sentences(TWO, pairs(pair("a", "b", difference, half, p)))
    above = half is not None and difference - half > 0
    below = half is not None and difference + half < 0
    assert ("It is better than b" in said) == (above and p is not None and p < 0.05)
    assert ("uncorrected" in said) == (above and p is None)
    assert ("b (" in said and "scored higher" in said) == below


def test_of_equal_strategies_none_is_called_better_for_want_of_a_test() -> None:
    """Five seeds and blocks of one scene allow no test; of six equal strategies the highest often looks better."""
    generator, told = np.random.default_rng(0), ""
    for _ in range(3):
        scores = generator.normal(0.6, 0.02, (6, 5))
        rows = [row for number, of in enumerate(scores) for row in finals(*of, strategy=f"s{number}")]
        runs = frame(*rows)
        board = table(runs).rows.with_columns(pl.col("strategy").alias("variant"))
        [said] = best_sentences(board, pl.concat([sheet.frame for sheet in compare_all(runs)]))
        assert "has the highest mean" in said and "better" not in said
        told += said
    assert "uncorrected for the number of comparisons" in told


def test_of_many_the_nearest_is_told_in_full() -> None:
    others = [cell(f"s{number}", 50.0 - number) for number in range(7)]
    rows = [pair("a", f"s{number}", 10.0 + number, 2.0, 0.01) for number in range(7)]
    [said] = best_sentences(cells(cell("a", 60.0), *others), pairs(*rows))
    figures = "+10.00 points; 95 % interval +8.00 to +12.00; test over images p = 0.010 after Holm"
    assert f"It is better than s0 ({figures}), s1, s2, s3 and 3 more." in said


def test_contaminated_strategies_are_set_aside() -> None:
    rows = [cell("seen", 90.0, contaminated=True), cell("a", 60.0), cell("b", 50.0)]
    [said] = best_sentences(cells(*rows), pairs(pair("a", "b", 10.0, 2.0), pair("seen", "a", 30.0, 2.0)))
    assert said.startswith("hyko2, 100 % of the training images: a has the highest mean")
    assert "seen is contaminated and set aside" in said
    [alone] = best_sentences(cells(rows[0]), pairs())
    assert "nothing to rank" in alone


def test_one_strategy_is_compared_with_nothing() -> None:
    [said] = best_sentences(cells(cell("a", 60.0, None, seeds=1)), pairs())
    assert said.endswith("a reached 60.00 % mean Jaccard (1 seed); there is nothing to compare it with.")


def test_fewer_labels_only_where_intervals_lie_apart() -> None:
    few = {"fraction": "10 %", "fraction_percent": 10.0}
    [said] = label_sentences(cells(cell("a", 60.0, 1.0, **few), cell("b", 50.0, 2.0)))
    assert said.startswith("hyko2: a with 10 % of the images") and "lies above b with 100 %" in said
    assert label_sentences(cells(cell("a", 52.0, 1.0, **few), cell("b", 50.0, 2.0))) == []
    assert label_sentences(cells(cell("a", 60.0, None, **few), cell("b", 50.0, 2.0))) == []
    assert label_sentences(cells(cell("a", 60.0, 1.0, **few, contaminated=True), cell("b", 50.0, 2.0))) == []


def test_how_sure() -> None:
    assert seeds_sentence(cells()) is None
    assert "too few for an interval" in str(seeds_sentence(cells(cell("a", 1.0, seeds=2))))
    assert "wide" in str(seeds_sentence(cells(cell("a", 1.0, seeds=3), cell("b", 1.0, seeds=10))))
    assert seeds_sentence(cells(cell("a", 1.0, seeds=10))) == "Figures are means over 10 seeds a cell."


def runs(*rows: dict[str, Any]) -> pl.DataFrame:
    names = ("kind", "state", "problem", "cell_name", "axes", "dataset", "strategy")
    schema = {**dict.fromkeys(names, pl.String), **dict.fromkeys(("device_seconds", "features_seconds"), pl.Float64)}
    given = {"kind": "trial", "state": "complete", "cell_name": "c", "dataset": "d", "strategy": "s"}
    given["axes"] = '{"fraction": 1.0}'
    return pl.DataFrame([given | row for row in rows], schema=schema)


def test_what_it_took() -> None:
    found = runs(
        {"device_seconds": 3600.0, "features_seconds": 120.0}, {"kind": "final", "device_seconds": 7200.0},
        {"state": "failed", "cell_name": "other", "features_seconds": 100.0}, {"state": "running"},
        {"problem": "no tag hsray.cell"},
    )  # fmt: skip
    said = cost_sentence(found)
    assert "4 trials and 1 final took 3.0 hours of device time (trials 60 minutes, finals 2.0 hours)" in said
    assert "2 minutes more, once" in said and "2 runs tell no device time" in said
