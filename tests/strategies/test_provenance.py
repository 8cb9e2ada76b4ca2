"""Who has seen the target dataset is said so, under whatever name."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hsray.cli import app
from hsray.datasets.own import parse_description
from hsray.experiment import load_experiment
from hsray.models import build_encoder
from hsray.strategies.provenance import contamination
from hsray.strategies.strategy import strategy
from hsray.sweep.cells import cells
from hsray.sweep.jobs import final_job, write_spec
from tests.sweep.sweeps import write_experiment
from tests.tiny import tiny_store


class Named:
    """Of a store, what its name and source say."""

    def __init__(self, name: str, **source: Any) -> None:
        self.name, self.source = name, source


@pytest.fixture
def recipe(tmp_path: Path):
    encoder = build_encoder("hypersl", 12, torch.linspace(450, 900, 12), width=16, depth=1, heads=2)
    torch.save(encoder.state_dict(), tmp_path / "w.pt")

    def made(**encoder: Any):
        form = {"name": "hypersl", "width": 16, "depth": 1, "heads": 2, "weights": str(tmp_path / "w.pt")}
        return {"name": "mine", "encoder": form | encoder, "decoder": {"name": "mlp", "hidden": 4}}

    return made


@pytest.mark.parametrize(
    ("seen", "store"),
    [
        ("hyko2", Named("hyko2")),
        ("HyKo 2", Named("hyko2")),
        ("HSI-Drive", Named("hsidrive")),
        ("HSI-Drive v2.0", Named("hsidrive")),
        ("hcv2 / Hyperspectral City v2", Named("hcv2")),
        ("Hyperspectral City V2 (train)", Named("hcv2-iros2024")),
        ("Indian Pines", Named("indian-pines")),
        ("HCV2", Named("renamed", catalog="hcv2")),
        ("Forest, Sensor B", Named("mine", also_known_as=["forest"])),
    ],
)
def test_a_seen_dataset_is_found_under_any_name(recipe, seen: str, store: Named) -> None:
    assert contamination(strategy(recipe(seen=["EnMAP", seen])), store) == (seen,)  # type: ignore[arg-type]
    assert contamination(strategy(recipe(seen=["EnMAP", "forests", "city"])), store) == ()  # type: ignore[arg-type]


def test_what_the_file_says_counts_unless_the_recipe_says_otherwise(recipe, tmp_path: Path) -> None:
    (tmp_path / "w.json").write_text(json.dumps({"seen": ["HyKo2"]}))
    hyko2: Any = Named("hyko2")
    assert contamination(strategy(recipe()), hyko2) == ("HyKo2",)
    assert contamination(strategy(recipe(seen=[])), hyko2) == ()
    assert contamination(strategy("runet"), hyko2) == ()
    assert contamination(strategy(recipe(weights=None, seen=["hyko2"])), hyko2) == ()


def test_own_data_may_have_other_names() -> None:
    told = {
        "kind": "scene", "name": "field", "cube": "a.npy", "labels": "b.npy", "also_known_as": ["Old Field"],
        "splits": {"grid": [2, 2], "train": 0.5, "val": 0.25, "test": 0.25},
    }  # fmt: skip
    assert parse_description(told, "field.toml").model_dump(mode="json")["also_known_as"] == ["Old Field"]


def test_plan_warns_and_runs_are_tagged(recipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tiny_store(tmp_path / "data", size=(4, 4), images={"train": 2, "val": 1, "test": 1})
    axes = {"dataset": ["tiny"], "strategy": ["mlp", recipe(seen=["Tiny"])], "fraction": [1.0]}
    path = write_experiment(tmp_path, axes=axes)
    app(["plan", str(path), "--data", str(tmp_path / "data"), "--runs", str(tmp_path / "runs")], standalone_mode=False)
    said = [line for line in capsys.readouterr().err.splitlines() if "contaminated" in line]
    assert said == ["contaminated: the encoder of mine has seen tiny (Tiny)"]
    tags = {}
    for cell in cells(load_experiment(path), tmp_path / "data"):
        job = final_job(cell, 0, {"lr": 0.01}, tmp_path / "runs", tmp_path / "cache")
        write_spec(job, cell, {"lr": 0.01})
        tags[cell.strategy.name] = json.loads((job.folder / "spec.json").read_text())["tags"]
    assert tags["mine"]["hsray.contaminated"] == "Tiny"
    assert "hsray.contaminated" not in tags["mlp"]
