"""From axes to cells: what is merged, what is left out, what is refused."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from hsray.errors import RequestError
from hsray.experiment import Experiment, parse_experiment
from hsray.sweep.cells import cells
from tests.tiny import tiny_store


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    tiny_store(root)
    tiny_store(root, "other", seed=1)
    return root


def experiment(axes: dict[str, Any] | None = None, **parts: Any) -> Experiment:
    content = {"name": "e", "task": "spectral", "axes": {"dataset": ["tiny"], "strategy": ["mlp"], **(axes or {})}}
    return parse_experiment({**content, **parts})


def test_every_combination_is_a_cell_and_what_a_strategy_lacks_is_left_out(data: Path) -> None:
    found = cells(
        experiment(
            {"dataset": ["tiny", "other"], "strategy": ["mlp", "hypersl-lora"], "adapter": ["frozen", "lora", "full"]},
            search={"lr": {"log": [1e-4, 1e-2]}, "lora.rank": {"choice": [2, 4], "when": {"adapter": "lora"}}},
        ),
        data,
    )
    names = [cell.name for cell in found]
    assert len(names) == len(set(names)) == 2 * (1 + 3)
    assert sum("adapter" in name for name in names) == 6
    assert all(("lora.rank" in cell.space) == cell.strategy.pretrained for cell in found)
    lora = next(cell for cell in found if cell.axes.get("adapter") == "lora")
    resolved = lora.config({"lr": 1e-3, "lora.rank": 2}, seed=0)
    assert resolved.strategy.adapter.kind == "lora" and resolved.strategy.adapter.options["rank"] == 2
    frozen = next(cell for cell in found if cell.axes.get("adapter") == "frozen")
    assert "rank" not in frozen.config({"lr": 1e-3}, seed=0).strategy.adapter.options


def test_the_id_changes_with_the_definition_and_not_with_budget(data: Path) -> None:
    def ids(**parts: Any) -> list[str]:
        return [cell.id for cell in cells(experiment(**parts), data)]

    start = ids(search={"lr": {"log": [1e-4, 1e-2]}})
    assert ids(search={"lr": {"log": [1e-4, 1e-2]}}, budget={"trials": 99}, final={"seeds": 3}) == start
    assert ids(search={"lr": {"log": [1e-4, 1e-1]}}) != start
    assert ids(search={"lr": {"log": [1e-4, 1e-2]}}, fixed={"batch": 8}) != start
    assert ids(search={"lr": {"log": [1e-4, 1e-2]}}, budget={"epochs": 7}) != start
    assert ids(search={"lr": {"log": [1e-4, 1e-2]}}, budget={"halving": False}) != start
    assert ids(search={"lr": {"log": [1e-4, 1e-2]}}, task="segmentation") != start


def test_the_order_of_precedence(data: Path) -> None:
    recipe = {"base": "mlp", "name": "m", "training": {"batch": 3, "lr": 0.5, "flip": 0.3}}
    [cell] = cells(experiment({"strategy": [recipe]}, fixed={"lr": 0.25}, search={"batch": {"choice": [5]}}), data)
    training = cell.config({"batch": 5}, seed=0).training
    assert (training.batch, training.lr, training.flip, training.weight_decay) == (5, 0.25, 0.3, 0.0)


def test_two_things_of_one_name_are_refused(data: Path) -> None:
    with pytest.raises(RequestError, match="two different cells are called"):
        cells(experiment({"strategy": ["mlp", {"base": "mlp", "decoder": {"hidden": 16}}]}), data)


def test_weights_named_by_a_relative_path_are_found_from_elsewhere(data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(data)
    shipped = Path(str(files("hsray").joinpath("weights", "hsray-small.safetensors")))
    (data / "mine.safetensors").write_bytes(shipped.read_bytes())
    recipe = {"base": "hypersl-full", "name": "mine", "encoder": {"weights": "mine.safetensors"}}
    [cell] = cells(experiment({"strategy": [recipe]}), data)
    config = cell.config({}, seed=0)
    assert config.strategy.encoder is not None and config.strategy.encoder.weights == str(data / "mine.safetensors")
    first = cell.id, config.digest()
    (data / "moved").mkdir()
    (data / "mine.safetensors").rename(data / "moved" / "mine.safetensors")
    recipe["encoder"] = {"weights": "moved/mine.safetensors"}
    [moved] = cells(experiment({"strategy": [recipe]}), data)
    assert (moved.id, moved.config({}, seed=0).digest()) == first


def test_all_problems_of_all_axes_come_in_one_message(data: Path) -> None:
    wrong = experiment(
        {"dataset": ["tiny", "nowhere"], "strategy": ["mlp", "mpl"]},
        search={"learning_rate": {"log": [1e-4, 1e-2]}},
        fixed={"epochs": 3},
    )
    with pytest.raises(RequestError) as caught:
        cells(wrong, data, "e.yaml")
    for words in (
        "4 problems",
        "'nowhere'",
        "axes.dataset.1",
        "'mpl'",
        "did you mean 'mlp'",
        "learning_rate",
        "budget.epochs",
    ):
        assert words in str(caught.value)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"axes": {"fraction": [0.01, 1.0]}}, "leaves no image"),
        ({"axes": {"fraction": [1.5]}}, "not a fraction"),
        ({"search": {"lr": {"choice": [-1.0]}}}, "lr"),
        ({"fixed": {"batch": "many"}}, "batch"),
        ({"fixed": {"decoder.breadth": 3}}, "no strategy of this file has"),
        ({"axes": {"adapter": ["laura"], "strategy": ["hypersl-full"]}}, "no adapter 'laura'"),
    ],
)
def test_values_that_cannot_work_are_refused_before_anything_runs(data: Path, parts: dict[str, Any], said: str) -> None:
    axes = parts.pop("axes", {})
    with pytest.raises(RequestError, match=said):
        cells(experiment(axes, **parts), data, "e.yaml")


@pytest.mark.parametrize(
    ("strategy", "said"),
    [
        ("unet", "takes a map"),
        ("efficientnet-imagenet", "its encoder takes images"),
        ({"base": "hypersl-full", "name": "x", "encoder": {"width": 32}}, "do not fit"),
        ({"base": "hypersl-full", "name": "x", "view": {"kind": "pca"}}, "wavelength"),
        ({"base": "mlp", "name": "x", "decoder": {"breadth": 3}}, "no option breadth"),
        ({"name": "x", "decoder": {"name": "mpl"}}, "no decoder 'mpl'"),
        ({"base": "mlp", "name": "x", "decoder": {"hidden": "wide"}}, "cannot be built or run"),
        ({"base": "mlp", "name": "x", "decoder": {"hidden": -1}}, "cannot be built or run"),
        ({"base": "mlp", "name": "x", "view": {"kind": "pca", "normalise": "max"}}, "whitened"),
        (5, "is no strategy"),
    ],
)
def test_strategies_that_cannot_be_built_are_refused_before_anything_runs(data: Path, strategy: Any, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        cells(experiment({"strategy": [strategy]}), data, "e.yaml")


def test_wrong_values_are_named_beside_wrong_names(data: Path) -> None:
    wrong = experiment({"strategy": ["mlp", "mpl"], "fraction": [0.01, 1.0]}, fixed={"batch": "many"})
    with pytest.raises(RequestError) as caught:
        cells(wrong, data, "e.yaml")
    for words in ("'mpl'", "batch"):
        assert words in str(caught.value)
