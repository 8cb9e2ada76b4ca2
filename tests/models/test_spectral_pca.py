"""The encoder that knows how spectra vary: what its layer does on other bands, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from hsray.errors import RequestError
from hsray.models.spectral_pca import FACTOR, MEAN, WAVELENGTHS, SpectralPCA
from hsray.pretraining.run import pretrain
from hsray.strategies.weights import load_weights, weights_metadata
from tests.pretraining.tiny import recipe, tiny_data

NM_G = torch.linspace(400, 1000, 121)


def weights() -> dict[str, torch.Tensor]:
    """A mean of one half, three smooth directions of falling size."""
    waves = torch.stack([torch.cos(np.pi * k * (NM_G - 400) / 600) for k in (1, 2, 3)])
    return {
        MEAN: torch.full_like(NM_G, 0.5),
        FACTOR: waves * torch.tensor([[0.08], [0.02], [0.005]]),
        WAVELENGTHS: NM_G,
    }


def encoder(power: float, bands: int = 30) -> SpectralPCA:
    made = SpectralPCA(bands, torch.linspace(420, 980, bands), components=4, power=power)
    made.load_state_dict(made.translate(weights()))
    return made


@torch.no_grad()
def drawn_features(power: float) -> torch.Tensor:
    made = encoder(power)
    mean, *factor = (np.interp(np.linspace(420, 980, 30), NM_G, row) for row in (weights()[MEAN], *weights()[FACTOR]))
    spectra = mean + np.random.default_rng(1).normal(size=(3000, 3)) @ np.stack(factor)
    return made(torch.tensor(spectra / spectra.max(axis=1, keepdims=True), dtype=torch.float32))


def test_power_evens_out_the_components() -> None:
    spread = []
    for power in (0.0, 0.5, 1.0):
        values = torch.linalg.eigvalsh(torch.cov(drawn_features(power).T)).flip(0)
        spread.append(float(values[0] / values[2]))
    assert spread[0] > 3 * spread[1] > 9 * spread[2]
    assert spread[2] < 2  # whitened


def test_features_vary_alike_so_that_standardising_them_leaves_distances() -> None:
    features_ND = drawn_features(0.5)
    standard_ND = (features_ND - features_ND.mean(0)) / features_ND.std(0)
    before, after = torch.pdist(features_ND[:100]), torch.pdist(standard_ND[:100])
    assert float(torch.corrcoef(torch.stack([before, after]))[0, 1]) > 0.9


def test_other_bands_of_the_same_spectra_give_like_distances() -> None:
    spectra = torch.randn(40, 3, generator=torch.Generator().manual_seed(0)) @ weights()[FACTOR] + 0.5
    distances = []
    for bands in (30, 57):
        at = np.linspace(420, 980, bands)
        x = torch.tensor(np.stack([np.interp(at, NM_G, row) for row in spectra]), dtype=torch.float32)
        with torch.no_grad():
            distances.append(torch.pdist(encoder(0.5, bands)(x / x.amax(1, keepdim=True))))
    assert float(torch.corrcoef(torch.stack(distances))[0, 1]) > 0.98


def test_fewer_bands_than_components_give_as_many_features_as_bands() -> None:
    made = SpectralPCA(5, torch.linspace(450, 900, 5))
    made.load_state_dict(made.translate(weights()))
    assert made(torch.rand(2, 5)).shape == (2, made.out_channels) == (2, 5)


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(RequestError, match="the dataset has 300 to 980 nm"):
        SpectralPCA(9, torch.linspace(300, 980, 9)).translate(weights())
    for change in ({"components": 0}, {"power": 1.5}):
        with pytest.raises(RequestError, match="cannot be taken"):
            SpectralPCA(9, torch.linspace(420, 980, 9), **change)


def test_pretraining_gives_the_mean_and_covariance_of_its_sources_and_no_spectrum(tmp_path: Path) -> None:
    data = tiny_data(tmp_path)
    shape = {"name": "spectral-pca", "spacing_nm": 10, "rank": 60, "components": 5}
    asked = recipe(
        encoder=shape, stores=[], augmentation={"mixture": 0}, grid={"range_nm": (400, 1000)}, steps=40, batch=100
    )
    path = pretrain(asked, data, tmp_path / "w")
    tensors = load_file(path)
    with np.load(data / "one.npz") as file:
        nm_G = tensors[WAVELENGTHS].numpy()
        truth = np.stack([np.interp(nm_G, file["nm"], row) for row in file["spectra"]])
    truth /= truth.max(axis=1, keepdims=True)
    np.testing.assert_allclose(tensors[MEAN], truth.mean(axis=0), atol=0.02)
    np.testing.assert_allclose(tensors[FACTOR].T @ tensors[FACTOR], np.cov(truth.T), atol=0.01)
    made = SpectralPCA(20, torch.linspace(420, 980, 20), components=5)
    load_weights(made, str(path))
    assert weights_metadata(str(path))["seen"] == ["one", "two"]
    assert "no spectrum is among them" in path.with_suffix(".md").read_text()
    with pytest.raises(ValueError, match="leave out augmentation"):
        recipe(encoder=shape, augmentation={"light": 0.5})
    with pytest.raises(RequestError, match="no source holds"):
        pretrain(
            asked.model_copy(update={"grid": asked.grid.model_copy(update={"range_nm": (200.0, 1000.0)})}),
            data,
            tmp_path / "x",
        )
