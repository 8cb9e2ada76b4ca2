from __future__ import annotations

import polars as pl
import pytest

from hsray.errors import RequestError
from hsray.leaderboard.chosen import choose
from hsray.leaderboard.selection import Condition, once, select
from hsray.leaderboard.table import table
from tests.leaderboard.frames import finals, frame, run, trials

RUNS = frame(
    *finals(0.5, 0.6, strategy="runet", fraction=0.1),
    *finals(0.7, strategy="runet", fraction=1.0, axes={"adapter": "lora"}),
    *finals(0.8, strategy="hypersl", fraction="official:10", dataset="hyko2"),
    run("final", 7, 0.1, strategy="hypersl", fraction=0.1, experiment="other"),
    run("trial", 8, problem="no tag hsray.dataset") | {"dataset": None, "strategy": None, "axes": None},
)


def kept(*conditions: str) -> int:
    """Of the runs that can be used."""
    found, _ = select(RUNS, [Condition.parse(one) for one in conditions])
    return found.filter(found["problem"].is_null()).height


@pytest.mark.parametrize(
    ("conditions", "count"),
    [
        ((), 5),
        (("strategy=runet",), 3),
        (("strategy!=runet",), 2),
        (("dataset=hyko2,pines",), 5),
        (("dataset!=hyko2,pines",), 0),
        (("fraction<=0.1",), 3),
        (("fraction < 10%",), 0),
        (("fraction=0.10",), 3),  # numbers are compared as numbers
        (("fraction=official:10",), 1),
        (("fraction>0.1", "strategy=runet"), 1),
        (("adapter=lora",), 1),
        (("adapter!=lora",), 4),  # what has no adapter has not this one either
        (("seed>=1",), 2),
        (("experiment=other",), 1),
        (("contaminated=false",), 5),
    ],
)
def test_conditions(conditions: tuple[str, ...], count: int) -> None:
    assert kept(*conditions) == count


def test_what_is_left_out_is_counted_and_a_broken_run_stays_to_be_named() -> None:
    found, notes = select(RUNS, [Condition.parse("strategy=runet")])
    assert notes == ["2 runs left out by the filters"]
    assert found["problem"].drop_nulls().to_list() == ["no tag hsray.dataset"]


@pytest.mark.parametrize("text", ["strategy", "=runet", "fraction<many", "fraction<=0.1,x", ""])
def test_no_condition(text: str) -> None:
    with pytest.raises(RequestError) as caught:
        Condition.parse(text)
    assert "--where" in str(caught.value)


def test_an_unknown_name_is_answered_with_those_there_are() -> None:
    with pytest.raises(RequestError, match="no run has anything called 'stratgy'") as caught:
        select(RUNS, [Condition.parse("stratgy=runet")])
    assert "strategy" in str(caught.value.do) and "adapter" in str(caught.value.do)


def test_a_run_from_two_addresses_counts_once() -> None:
    again = RUNS.with_columns(source=pl.lit("http://mlflow"))
    for runs in (RUNS.vstack(again), again.vstack(RUNS)):
        single, notes = once(runs, {"sqlite:///mlflow.db": 2, "http://mlflow": 1})
        assert single.equals(RUNS)
        why = "not used: the same store was synced later from sqlite:///mlflow.db"
        assert notes == [f"5 runs of demo at http://mlflow {why}", f"1 run of other at http://mlflow {why}"]
    assert once(RUNS, {})[1] == []


def test_the_last_sync_of_a_store_with_two_addresses_counts_whole() -> None:
    """What the older one holds alone has been deleted since, or was superseded; a namesake elsewhere stays."""
    new, old, other = {"source": "http://mlflow"}, {"source": "sqlite:///mlflow.db"}, {"source": "sqlite:///other.db"}
    fresh = finals(0.1, 0.7, 0.7, 0.7, 0.8, 0.8, **new)
    fresh[0]["superseded"] = True
    stale = finals(0.1, 0.7, 0.7, **old) + finals(0.2, axes={"adapter": "deleted"}, **old)
    namesake = [one | {"run_id": f"other {one['seed']}"} for one in finals(0.3, **other)]
    runs = frame(*stale, *fresh, *namesake)
    single, notes = once(runs, {new["source"]: 3, old["source"]: 2, other["source"]: 4})
    assert notes == [
        "4 runs of demo at sqlite:///mlflow.db not used: the same store was synced later from http://mlflow"
    ]
    rows = table(single).rows
    assert dict(rows.select("seeds", "jaccard_macro").iter_rows()) == pytest.approx({5: 74.0, 1: 30.0})


def test_a_filter_does_not_change_which_definition_counts() -> None:
    """Nor how often the test set was read, nor whether the cell is contaminated."""
    old, new = finals(0.9, 0.9, 0.9, 0.9), finals(0.5, 0.5, definition="11111111", started_ms=9000)
    new[0]["contaminated"] = True
    runs = frame(*old, *trials(0.1, device_seconds=1.0), *new)
    later, _ = select(runs, [Condition.parse("seed>=2")])
    board = table(later)
    assert not board.rows.height
    assert "2 runs of other definitions of these cells not used" in board.notes
    one, _ = select(runs, [Condition.parse("seed=1")])
    [row] = table(one).rows.iter_rows(named=True)
    assert (row["jaccard_macro"], row["seeds"], row["test_reads"], row["contaminated"]) == (50.0, 1, 6, True)
    assert not table(select(runs, [Condition.parse("contaminated=false")])[0]).rows.height


def test_a_newer_definition_without_finals_is_named() -> None:
    runs = frame(*finals(0.5), *trials(0.6, 0.7, definition="11111111", started_ms=9000))
    notes = choose(runs).notes
    assert "2 runs of other definitions of these cells not used" in notes
    named = "dataset=pines,strategy=runet,fraction=1.0"
    assert f"the newest definition has no complete final yet, so a former one counts: {named}" in notes
