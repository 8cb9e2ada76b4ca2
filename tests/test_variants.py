"""What an experiment file can say besides one grid: values by axis, combinations left out, a smoke variant."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from hsray.errors import RequestError
from hsray.experiment import parse_experiment
from hsray.sweep.cells import cells
from hsray.variants import smoke_variant
from tests.tiny import tiny_store

FILE = {
    "name": "one",
    "task": "spectral",
    "axes": {"dataset": ["a", "b"], "strategy": ["mlp", {"base": "mlp", "name": "wide", "decoder": {"hidden": 512}}]},
    "without": [{"dataset": "a", "strategy": ["wide"]}],
    "search": {"lr": {"log": [1e-5, 1e-2]}},
    "fixed": {"batch": {"dataset": {"a": 16, "b": 4}}, "clip": 1.0},
    "smoke": {
        "axes": {"dataset": ["a"]},
        "search": {"lr": None},
        "fixed": {"batch": 8},
        "budget": {"trials": 1, "epochs": 1},
        "strategies": {"mlp": {"decoder": {"hidden": 8}}, "wide": {"decoder": {"depth": 1}}},
    },
}


def test_values_follow_from_an_axis_and_combinations_are_left_out(tmp_path: Path) -> None:
    for name in "ab":
        tiny_store(tmp_path, name)
    found = {cell.name: cell for cell in cells(parse_experiment(FILE), tmp_path)}
    assert list(found) == ["dataset=a,strategy=mlp", "dataset=b,strategy=mlp", "dataset=b,strategy=wide"]
    assert [cell.config({}, 0).training.batch for cell in found.values()] == [16, 4, 4]


def test_the_smoke_variant_keeps_the_strategies_and_replaces_what_it_names(tmp_path: Path) -> None:
    tiny_store(tmp_path, "a")
    small = parse_experiment(smoke_variant(FILE, "f"))
    assert (small.name, small.search, small.budget.trials) == ("one-smoke", {}, 1)
    assert small.fixed == {"batch": 8, "clip": 1.0}
    (cell,) = cells(small, tmp_path)
    assert (cell.strategy.name, cell.strategy.decoder.options) == ("mlp", {"hidden": 8})
    assert small.axes["strategy"][1]["decoder"] == {"hidden": 512, "depth": 1}
    assert parse_experiment(FILE).axes == FILE["axes"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"smoke": {}}, "no smoke variant"),
        ({"smoke": {"budgets": {}}}, "no part budgets"),
        ({"smoke": {"strategies": {"narrow": {}}}}, "called 'narrow'"),
        ({"without": [{"dataset": "c"}]}, "there is no c"),
        ({"without": [{"adapter": "lora"}]}, "adapter is no axis"),
        ({"fixed": {"batch": {"dataset": {"a": 16}}}}, "no value for dataset b"),
        ({"fixed": {"batch": {"adapter": {"lora": 16}}}}, "adapter is no axis"),
    ],
)
def test_what_does_not_fit_is_named(change: dict, said: str) -> None:
    content = {**copy.deepcopy(FILE), **change}
    with pytest.raises(RequestError, match=said):
        parse_experiment(smoke_variant(content, "f") if "smoke" in change else content)
