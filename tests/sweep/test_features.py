"""Which features a sweep computes before its trials."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hsray.experiment import parse_experiment
from hsray.models import build_encoder
from hsray.strategies.features import is_cacheable
from hsray.sweep.cells import cells
from hsray.sweep.preflight.disk import _recipes
from tests.tiny import tiny_store


def test_they_are_those_of_the_trials_and_their_weights_are_named_by_whole_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tiny_store(tmp_path / "data", images={"train": 2, "val": 1, "test": 1})
    nm_L = torch.as_tensor(store.wavelengths_nm, dtype=torch.float32)
    encoder = build_encoder("hypersl", store.bands, nm_L, width=16, depth=1, heads=2)
    (tmp_path / "weights").mkdir()
    save_file(encoder.state_dict(), tmp_path / "weights" / "w.safetensors")
    monkeypatch.setenv("HSRAY_WEIGHTS", str(tmp_path / "weights"))
    form = {"name": "hypersl", "width": 16, "depth": 1, "heads": 2, "weights": "weights:w.safetensors"}
    recipe = {"name": "mine", "encoder": form, "decoder": {"name": "mlp"}}
    told = {
        "name": "e", "task": "spectral", "axes": {"dataset": ["tiny"], "strategy": [recipe]},
        "search": {
            "adapter": {"choice": ["frozen", "full"]},
            "features.pca": {"choice": [2, 3], "when": {"adapter": "frozen"}},
        },
    }  # fmt: skip
    [cell] = cells(parse_experiment(told), tmp_path / "data")
    found = _recipes(cell)
    assert {(one.adapter.kind, one.features.pca) for one in found if is_cacheable(one)} == {
        ("frozen", 2),
        ("frozen", 3),
    }
    # The node that computes them may have no such folder, nor know its name.
    assert {one.encoder.weights for one in found if one.encoder} == {str(tmp_path / "weights" / "w.safetensors")}
