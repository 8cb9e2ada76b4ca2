"""Nothing is called whole that is not."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from hsray.leaderboard.table import table
from hsray.report.absent import missing_sentence
from tests.leaderboard.frames import finals, frame, run, trials

FILE: dict[str, Any] = {
    "name": "demo",
    "task": "segmentation",
    "axes": {"dataset": ["pines"], "strategy": ["runet", {"base": "runet", "name": "wide"}], "fraction": [0.1, 1]},
    "without": [{"strategy": "wide", "fraction": 0.1}],
    "final": {"seeds": 3},
}
WHOLE = [
    *finals(0.5, 0.6, 0.7, fraction=0.1),
    *finals(0.5, 0.6, 0.7),
    *finals(0.5, 0.6, 0.7, strategy="wide"),
]


def said(rows: list[dict[str, Any]], file: dict[str, Any] | str | None = FILE) -> str:
    runs = frame(*rows)
    text = yaml.safe_dump(file) if isinstance(file, dict) else file
    return missing_sentence(runs, table(runs).rows, text)


def test_nothing_is_missing_where_all_that_was_planned_is_there() -> None:
    assert said(WHOLE) == (
        "Nothing is missing: every planned cell has finals under 3 seeds, and no run failed or is unfinished."
    )


@pytest.mark.parametrize("file", [None, "name: demo\n# cut", "[", "- 1", "a: &a [*a]", FILE | {"axes": 1}])
def test_without_a_plan_no_more_is_said_than_mlflow_tells(file: Any) -> None:
    told = said(WHOLE, file)
    assert told.startswith("Of the runs in MLflow none failed or is unfinished, and every cell among them has finals")
    assert "Nothing is missing" not in told


def test_finals_and_strategies_that_are_gone_are_missed() -> None:
    fewer = [*WHOLE[:1], *WHOLE[3:]]
    assert said(fewer) == "1 cell has fewer seeds than planned (1 of 3)."
    assert said(fewer, None) == "1 cell has fewer seeds than others (1 of 3)."
    assert said(WHOLE[:6]) == "1 of 3 planned combinations have no complete final."
    assert said([*WHOLE[:6], *trials(0.5, strategy="wide")]) == "1 of 3 planned combinations have no complete final."
    assert said([*WHOLE[:6], *trials(0.5, strategy="wide")], None) == "1 of 3 cells have no complete final."
    assert said(WHOLE, FILE | {"final": {"seeds": 5}}) == "3 cells have fewer seeds than planned (3 of 5)."


def test_axes_that_a_strategy_has_no_use_for_are_not_missed() -> None:
    axes = {"dataset": ["sets/pines"], "strategy": ["runet", "hypersl"], "fraction": [1.0], "adapter": ["none", "lora"]}
    plan = {**FILE, "axes": axes, "without": []}
    rows = [*finals(0.5, 0.6, 0.7), *finals(0.5, 0.6, 0.7, strategy="hypersl", axes={"adapter": "none"})]
    assert said(rows, plan) == "1 of 4 planned combinations have no complete final."
    rows += finals(0.5, 0.6, 0.7, strategy="hypersl", axes={"adapter": "lora"})
    assert said(rows, plan).startswith("Nothing is missing")


def test_what_a_plan_cannot_tell() -> None:
    other = FILE | {"axes": FILE["axes"] | {"dataset": ["elsewhere"]}}
    assert said(WHOLE, other).startswith("Of the runs in MLflow")  # the file is of other data, or names them otherwise
    searched = {**FILE, "axes": {"dataset": ["pines"], "strategy": ["runet"]}, "without": []}
    searched["search"] = {"fraction": {"choice": [0.1, 1.0]}}
    assert said(trials(0.5, fraction=None), searched) == (
        "Of the runs in MLflow none failed or is unfinished; whether more was planned is not known."
    )
    assert said(trials(0.5), FILE | {"final": {"seeds": 0}}).endswith("no finals were planned.")


def test_runs_that_failed_are_told() -> None:
    rows = [*WHOLE, run("trial", 7, state="failed"), run("trial", 8, state="running"), run("trial", 9, problem="odd")]
    assert said(rows) == "1 run failed; 1 run has not ended; 1 run cannot be used."
