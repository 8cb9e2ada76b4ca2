"""Our models give what the reference implementations give, from the same weights under the same names.

tests/models/parity/regenerate.py ran the reference in float64 (MiniRocket in its own float32); ours runs in float32.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from hsray.models import build_decoder, build_encoder
from tests.models.parity.formula import is_constant, sampled, uniform, weights

FOLDER = Path(__file__).parent / "parity"
NAMES = sorted(path.stem for path in FOLDER.glob("*.json"))
TOLERANCE = 1e-5


def fixture(name: str) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    with np.load(FOLDER / f"{name}.npz") as arrays:
        return json.loads((FOLDER / f"{name}.json").read_text("utf-8")), dict(arrays)


def loaded(name: str) -> tuple[nn.Module, dict[str, Any], dict[str, np.ndarray]]:
    """Our model with the reference's state, every name of it; what no formula makes is ours or in the fixture."""
    spec, arrays = fixture(name)
    ours = spec["ours"]
    if ours["part"] == "encoder":
        model = build_encoder(ours["name"], 128, torch.linspace(449, 957, 128), decoder_depth=4)
    else:
        model = build_decoder(ours["name"], ours["in_channels"], ours["num_classes"], **ours["options"])
    own = model.state_dict()
    assert {key: list(tensor.shape) for key, tensor in own.items()} == spec["tensors"]
    constants = {
        key: torch.ones(1, dtype=torch.bool) if "prefit" in key else own[key] for key in own if is_constant(key)
    }
    fitted = {key: torch.from_numpy(value) for key, value in arrays.items() if not key.startswith("out ")}
    model.load_state_dict({**constants, **weights(spec["tensors"]), **fitted}, strict=True)
    return model.eval(), spec, arrays


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    """Largest difference, relative to the largest value."""
    assert found.shape == expected.shape
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("name", [name for name in NAMES if name != "hypersl"])
def test_a_decoder_gives_what_the_reference_gives(name: str) -> None:
    model, spec, arrays = loaded(name)
    channels = spec["ours"]["in_channels"]
    for key, expected in arrays.items():
        if not key.startswith("out "):
            continue
        case = key.removeprefix("out ")
        shape = {"even": (2, channels, 32, 48), "odd": (1, channels, 37, 51), "spectra": (12, channels)}[case]
        with torch.inference_mode():
            logits = model(torch.from_numpy(uniform(f"{name} {case}", shape))).numpy()
        found = logits if case == "spectra" else sampled(logits, f"{name} {case}")
        assert distance(found, expected) < TOLERANCE, case


def test_hypersl_gives_the_official_features_and_reconstructions() -> None:
    model, _, arrays = loaded("hypersl")
    spectra_BL = torch.from_numpy(uniform("hypersl spectra", (4, 128)))
    nm_BL = torch.linspace(449, 957, 128).expand(4, -1)
    with torch.inference_mode():
        feature = model(spectra_BL)
        reconstruction, masked = model.reconstruct(spectra_BL, nm_BL, torch.from_numpy(arrays["out keep"]))
    assert distance(feature.numpy(), arrays["out feature"]) < TOLERANCE
    assert distance(masked.numpy(), arrays["out masked_feature"]) < TOLERANCE
    assert distance(reconstruction.numpy(), arrays["out reconstruction"]) < TOLERANCE


@pytest.mark.parametrize("name", [name for name in NAMES if "minirocket" in name])
def test_biases_fitted_on_a_sample_are_the_reference_ones(name: str) -> None:
    spec, arrays = fixture(name)
    ours = spec["ours"]
    model = build_decoder(ours["name"], ours["in_channels"], ours["num_classes"], **ours["options"])
    model.prefit(torch.from_numpy(uniform(f"{name} sample", (1500, ours["in_channels"]))))
    state = model.state_dict()
    biases = [key for key in arrays if "biases_" in key]
    assert biases
    for key in biases:
        assert distance(state[key].numpy(), arrays[key]) < TOLERANCE, key
