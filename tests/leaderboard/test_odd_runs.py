"""Runs that are not as they should be: every one is in a row or in a note, in every format and layout."""

from __future__ import annotations

import json

import polars as pl
import pytest

from hsray.leaderboard import against_published, table
from hsray.leaderboard.board_sheets import View
from hsray.leaderboard.render import rendered
from hsray.leaderboard.sheet import FORMATS
from tests.leaderboard.frames import finals, frame, run, trials

NAN = float("nan")
CASES: dict[str, tuple[pl.DataFrame, list[int], str]] = {
    # runs, seeds of the rows, what a note says
    "none": (frame(), [], ""),
    "without tags": (frame(run("final", 0, 0.5, problem="no tag hsray.axes")), [], "1 run not used: no tag hsray.axes"),
    "a fraction in words": (frame(*finals(0.5, fraction="most")), [], "1 run not used: the fraction"),
    "axes of all kinds": (
        frame(*finals(0.5, 0.6, axes={"adapter": ["a"], "encoder": {"name": "x"}, "seeds": 3, "n": None})), [2], "",
    ),
    "axes of some cells": (frame(*finals(0.5, axes={"adapter": "lora"}), *finals(0.7, strategy="b")), [1, 1], ""),
    "NaN": (frame(*finals(NAN, 0.6, 0.7)), [2], "1 final without finite scores not used"),
    "a seed twice": (
        frame(*finals(0.5, 0.6), run("final", 1, 0.9, run_id="later", started_ms=99999)), [2], "1 final of a seed that",
    ),
    "superseded": (frame(*finals(0.5, 0.6), run("final", 2, 0.9, superseded=True)), [2], "1 superseded run not used"),
    "of another definition": (
        frame(*finals(0.5), *trials(0.5, definition="11111111")), [1], "1 run of other definitions of these cells",
    ),
    "running": (frame(*finals(0.5, 0.6), run("trial", 3, state="running")), [2], "1 run still running"),
    "killed": (frame(*finals(0.5, 0.6), run("trial", 3, state="killed")), [2], "1 run not used: killed"),
    "times unknown": (frame(*finals(0.5, device_seconds=None, features_seconds=NAN)), [1], ""),
    "from a single source": (frame(*finals(0.5)).drop("source", "experiment_id", "ended_ms"), [1], ""),
    "two experiments": (frame(*finals(0.5), *finals(0.6, experiment="other")), [1, 1], ""),
    "one name in two sources": (
        frame(*finals(0.5), run("final", 0, 0.6, source="http://a", run_id="x")),
        [1, 1], "2 experiments are called demo",
    ),
    "fractions searched": (frame(*trials(0.5, 0.6, fraction=None)), [], ""),
}  # fmt: skip
VIEWS = (View(), View(pivot="fraction"), View(group_by=("strategy",)), View(pivot="strategy", metric="f1_macro"))


@pytest.mark.parametrize("case", CASES)
def test_every_run_is_in_a_row_or_a_note(case: str) -> None:
    runs, seeds, said = CASES[case]
    board = table(runs)
    assert board.rows["seeds"].to_list() == seeds
    assert any(said in note for note in board.notes) or not said, board.notes
    for view in (*VIEWS, View(sort="-seeds")):
        for format in FORMATS:
            assert rendered(against_published(board), format, view) is not None
    json.loads(rendered(board, "json"), parse_constant=pytest.fail)  # NaN is no JSON


def test_many_cells_of_one_reason_are_counted_and_some_named() -> None:
    board = table(frame(*(run("trial", 0, state="failed", reason="no memory", strategy=f"s{n:03}") for n in range(99))))
    [note] = [note for note in board.notes if "every trial failed" in note]
    assert note.startswith("99 cells: every trial failed: no memory (1×): ") and note.endswith(" and 91 more")


def test_the_order_of_the_runs_changes_nothing() -> None:
    rows = [*finals(0.5, 0.6, 0.7), *finals(*(0.7 + n / 100 for n in range(12)), strategy="b"), *trials(0.3, None)]
    assert rendered(table(frame(*rows)), "json") == rendered(table(frame(*reversed(rows))), "json")
