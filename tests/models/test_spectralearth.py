"""SpectralEarth: the official names and outputs, resampling onto its bands, odd sizes, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from hsray.errors import RequestError
from hsray.models import build_encoder
from hsray.models.spectralearth import enmap_nm, resampling
from hsray.strategies.weights import misfit
from tests.models.parity.formula import sampled, uniform, weights

FOLDER = Path(__file__).parent / "spatial"
ENMAP = torch.from_numpy(enmap_nm()).float()


def with_formula_weights(name: str, **options: object) -> nn.Module:
    model = build_encoder(name, 202, ENMAP, **options).eval()
    shapes = {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()}
    missing, unexpected = model.load_state_dict(weights(shapes), strict=False)
    assert not unexpected
    assert all(key.endswith("num_batches_tracked") for key in missing)
    return model


def distance(found: np.ndarray, expected: np.ndarray) -> float:
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("size", ["small", "base", "large", "huge", "resnet50"])
def test_names_and_shapes_are_the_official_ones(size: str) -> None:
    published = json.loads((FOLDER / "spectralearth.json").read_text("utf-8"))[size]
    name, options = ("spectralearth-resnet", {}) if size == "resnet50" else ("spectralearth-vit", {"size": size})
    with torch.device("meta"):
        model = build_encoder(name, 15, torch.linspace(450, 900, 15, device="cpu"), **options)
    assert {key: list(tensor.shape) for key, tensor in model.state_dict().items()} == published


def test_a_checkpoint_of_the_masked_autoencoder_may_hold_its_patch_embedding_twice() -> None:
    model = build_encoder("spectralearth-vit", 15, torch.linspace(450, 900, 15), size="tiny")
    own = model.state_dict()
    twice = {f"vit_core.patch_embed.{key}": t for key, t in own.items() if key.startswith("spectral_adapter.")}
    assert misfit(own, own | twice, model.spare_tensors, "encoder") is None


def test_outputs_are_the_official_ones() -> None:
    with np.load(FOLDER / "spectralearth.npz") as arrays:
        expected = dict(arrays)
    image = torch.from_numpy(uniform("spectralearth", (1, 202, 32, 48)))
    with torch.inference_mode():
        maps = with_formula_weights("spectralearth-vit", size="tiny")(image)
        last = with_formula_weights("spectralearth-resnet")(image)[-1].numpy()
    for depth, one in enumerate(maps[1:]):
        tokens = sampled(one.flatten(2).numpy(), f"vit {depth}")
        assert distance(tokens, expected[f"vit {depth}"]) < 1e-5
    assert distance(sampled(last, "resnet"), expected["resnet"]) < 1e-5


@pytest.mark.parametrize(
    ("name", "options"), [("spectralearth-vit", {"size": "tiny"}), ("spectralearth-resnet", {"size": "tiny"})]
)
def test_any_bands_and_odd_sizes(name: str, options: dict[str, object]) -> None:
    encoder = build_encoder(name, 5, torch.tensor([900.0, 450, 500, 700, 650]), **options).eval()
    with torch.inference_mode():
        maps = encoder(torch.rand(1, 5, 9, 33))
    height, width = maps[0].shape[2:]
    assert height >= 9
    assert width >= 33
    for one, channels, stride in zip(maps, encoder.out_channels, encoder.strides, strict=True):
        assert one.shape == (1, channels, height // stride, width // stride)


def test_everything_that_is_built_learns() -> None:
    encoder = build_encoder("spectralearth-vit", 15, torch.linspace(450, 900, 15), size="tiny", levels=2)
    sum(one.square().mean() for one in encoder(torch.rand(2, 15, 8, 8))[1:]).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_its_own_bands_are_left_as_they_are() -> None:
    np.testing.assert_allclose(resampling(enmap_nm(), enmap_nm()), np.eye(202))


@settings(max_examples=30, deadline=None)
@given(
    nm=st.lists(st.floats(300, 2600), min_size=2, max_size=12, unique=True),
    slope=st.floats(-2, 2),
    offset=st.floats(-5, 5),
)
def test_straight_spectra_stay_straight_within_the_range_and_are_zero_outside(
    nm: list[float], slope: float, offset: float
) -> None:
    nm_L, target = np.array(nm), enmap_nm()
    found = resampling(nm_L, target) @ (slope * nm_L / 1000 + offset)
    inside = (target >= nm_L.min()) & (target <= nm_L.max())
    np.testing.assert_allclose(found[inside], slope * target[inside] / 1000 + offset, atol=1e-9)
    assert not found[~inside].any()


@pytest.mark.parametrize(
    ("nm", "options", "message"),
    [
        (None, {}, "needs the wavelength of every band"),
        (torch.linspace(450, 900, 4), {}, "5 input channels and 4 wavelengths"),
        (torch.linspace(300, 400, 5), {}, "no band of EnMAP"),
        (torch.tensor([450.0, 500, float("nan"), 600, 700]), {}, "above 0 nm"),
        (torch.linspace(450, 900, 5), {"size": "giant"}, "has no size 'giant'"),
        (torch.linspace(450, 900, 5), {"levels": 5, "size": "tiny"}, "cannot give 5 levels"),
    ],
)
def test_bad_requests(nm: torch.Tensor | None, options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        build_encoder("spectralearth-vit", 5, nm, **options)
