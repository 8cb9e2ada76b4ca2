from __future__ import annotations

import pytest

from hsray.errors import RequestError
from hsray.leaderboard.selection import Condition, once, select
from tests.leaderboard.frames import finals, frame, run

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
        (("adapter!=lora",), 0),  # what has no adapter is not one of another adapter
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
    twice = RUNS.vstack(RUNS.with_columns(source=RUNS["source"] + "?again"))
    single, notes = once(twice)
    assert single.equals(RUNS) and notes == ["6 runs are mirrored from two addresses and counted once"]
    assert once(RUNS) == (RUNS, []) or once(RUNS)[1] == []
