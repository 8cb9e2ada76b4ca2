"""The experiment file: what it accepts, and that all of its problems come in one message."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import pytest

from hsray.errors import RequestError
from hsray.experiment import Experiment, load_experiment, parse_experiment, parse_setting

GOOD = {
    "name": "one",
    "task": "segmentation",
    "axes": {"dataset": ["a"], "strategy": ["unet"], "fraction": [0.5, 1.0]},
    "search": {
        "lr": {"log": [1e-5, 1e-2]},
        "adapter": {"choice": ["frozen", "lora"]},
        "lora.rank": {"choice": [4, 16], "when": {"adapter": "lora"}},
    },
}


def changed(**parts):
    return {**copy.deepcopy(GOOD), **parts}


def test_numbers_are_read_as_people_write_them(tmp_path: Path) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(
        "name: a\ntask: spectral\naxes: {dataset: [d], strategy: [mlp]}\nsearch: {lr: {log: [1e-5, 1E-2]}}\n"
    )
    assert load_experiment(file).search["lr"].log == (1e-5, 1e-2)
    file.write_text(
        "name: a\ntask: spectral\naxes:\n  dataset: [d]\n  strategy:\n"
        "    - &one {base: mlp, name: m, decoder: {depth: 1}}\n"
        "    - {<<: *one, name: n}\n"
    )
    assert load_experiment(file).axes["strategy"][1] == {"base": "mlp", "name": "n", "decoder": {"depth": 1}}
    assert parse_setting("lr=1e-3") == ("lr", 1e-3)
    assert parse_setting("crop=null") == ("crop", None)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (changed(nmae="x"), ["unknown key 'nmae'", "known keys: name"]),
        (changed(budget={"trial": 3}), ["unknown key 'trial'", "budget.trial", "trials"]),
        (changed(budget={"trials": "many"}), ["budget.trials", "'many'"]),
        (changed(axes={"dataset": [], "strategy": ["unet"]}), ["axis dataset is empty"]),
        (changed(axes={"dataset": ["a"]}), ["strategy is missing"]),
        (changed(axes={"dataset": ["a", "a"], "strategy": ["unet"]}), ["dataset names a value twice"]),
        (changed(fixed={"lr": 1e-3}), ["lr stands in both search and fixed"]),
        (changed(search={"lr": {"log": [1e-2, 1e-5]}}), ["search.lr", "not below"]),
        (changed(search={"lr": {"log": [0, 1]}}), ["starts above 0"]),
        (changed(search={"lr": {"log": [1e-5, 1], "choice": [1]}}), ["exactly one of"]),
        (changed(search={"lora.rank": {"choice": [4], "when": {"adapter": "lora"}}}), ["adapter is no axis"]),
        (
            changed(
                search={"adapter": {"choice": ["full"]}, "lora.rank": {"choice": [4], "when": {"adapter": "lora"}}}
            ),
            ["adapter is never 'lora'"],
        ),
        (
            changed(axes={"dataset": ["a"], "strategy": ["u"]}, search={"fraction": {"uniform": [0.1, 1]}}),
            ["is a choice"],
        ),
        (changed(name="a/b"), ["name", "'a/b'"]),
        (changed(task="detection"), ["task", "'detection'"]),
    ],
)
def test_each_problem_is_named(content: dict, said: list[str]) -> None:
    with pytest.raises(RequestError) as caught:
        parse_experiment(content, "e.yaml")
    for words in said:
        assert words in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_problems_come_at_once() -> None:
    with pytest.raises(RequestError) as caught:
        parse_experiment(changed(nmae="x", budget={"trials": 0}, final={"seeds": -1}), "e.yaml")
    for words in ("3 problems", "nmae", "budget.trials", "final.seeds"):
        assert words in str(caught.value)


@pytest.mark.parametrize("text", ["a: [1", "- 1\n- 2\n", "a: 1\na: 2\n"])
def test_what_is_no_mapping_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "e.yaml"
    file.write_text(text)
    with pytest.raises(RequestError, match=r"e\.yaml"):
        load_experiment(file)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"nowhere\.yaml"):
        load_experiment(tmp_path / "nowhere.yaml")


def test_the_published_schema_is_the_one_in_use() -> None:
    published = Path(__file__).parents[1] / "experiments" / "schema.json"
    current = json.dumps(Experiment.model_json_schema(), indent=1) + "\n"
    assert published.read_text() == current, "write it again: make schema"
