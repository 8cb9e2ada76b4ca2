"""MiniRocket and HDC-MiniRocket beyond parity: what learns, what is fitted once, and what parts and precision do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

import hsray
from hsray.errors import RequestError
from hsray.models import build_decoder, minirocket
from tests.tiny import tiny_store

BOTH = pytest.mark.parametrize("name", ["minirocket", "hdc-minirocket"])


def fitted(name: str, bands: int = 20, features: int = 84 * 6, **options: float) -> Any:
    torch.manual_seed(0)
    model = build_decoder(name, bands, 3, features=features, **options)
    model.prefit(torch.rand(200, bands))
    return model


def features(model: Any, spectra_BL: Tensor) -> Tensor:
    return model.minirocket_enc["encoder"](spectra_BL)


def test_a_feature_is_the_share_of_bands_above_a_bias() -> None:
    model, spectra_BL = fitted("minirocket", bands=9), torch.rand(3, 9)
    encoder = model.minirocket_enc["encoder"]
    assert encoder.dilations == [1]
    padded = np.pad(spectra_BL.numpy(), ((0, 0), (4, 4)))
    taps = encoder.kernels[:, 0].numpy()
    maps_BKL = np.stack([padded[:, place : place + 9] @ taps.T for place in range(9)], axis=2)
    shares_BKN = (maps_BKL[..., None] > encoder.biases_0.numpy()[:, None]).mean(axis=2)
    alone_BKN = maps_BKL[:, :, 4:5, None] > encoder.biases_0.numpy()[:, None]  # without padding one place is left
    found = features(model, spectra_BL).numpy()
    np.testing.assert_allclose(found[:, :252], shares_BKN[:, ::2].reshape(3, -1), atol=1e-6)
    np.testing.assert_allclose(found[:, 252:], alone_BKN[:, 1::2, 0].reshape(3, -1), atol=1e-6)


@BOTH
def test_only_the_head_learns(name: str) -> None:
    model, spectra_BL = fitted(name).train(), torch.rand(8, 20)
    before = features(model, spectra_BL)
    optimiser = torch.optim.AdamW(model.parameters(), lr=0.1, weight_decay=0.1)
    model(spectra_BL.requires_grad_()).square().sum().backward()
    optimiser.step()
    assert {parameter for parameter, _ in model.named_parameters()} == {
        f"c_head.{layer}.{one}" for layer in (1, 2) for one in ("weight", "bias")
    }
    assert torch.equal(features(model, spectra_BL), before)


@BOTH
def test_a_loaded_state_needs_no_fit(name: str) -> None:
    trained, fresh, spectra_BL = fitted(name).eval(), build_decoder(name, 20, 3, features=504).eval(), torch.rand(4, 20)
    with pytest.raises(RequestError, match="not fitted"):
        fresh(spectra_BL)
    fresh.load_state_dict(trained.state_dict())
    assert torch.equal(fresh(spectra_BL), trained(spectra_BL))


@BOTH
def test_parts_and_precision_change_nothing(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    model, spectra_BL = fitted(name).eval(), torch.rand(70, 20)
    whole, plain = model(spectra_BL), features(model, spectra_BL)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(features(model, spectra_BL), plain)
    monkeypatch.setattr(minirocket, "_CPU_ELEMENTS", 42 * 20 * 100)
    monkeypatch.setattr(minirocket, "_ROWS", 16)
    torch.testing.assert_close(model(spectra_BL), whole, atol=1e-4, rtol=1e-4)


def test_positions_make_a_difference_from_scale_0_on() -> None:
    spectra_BL = torch.rand(50, 20)
    plain = features(fitted("minirocket"), spectra_BL)
    varied = plain.std(0) > 0
    for scale, same in ((0.0, True), (2.0, False)):
        bound = features(fitted("hdc-minirocket", scale=scale), spectra_BL)
        together = torch.stack([plain, bound])[:, :, varied].permute(2, 0, 1)
        alike = torch.stack([torch.corrcoef(pair)[0, 1].abs() for pair in together])
        assert bool((alike > 0.999).all()) == same


def test_neighbouring_positions_are_alike_and_less_so_at_a_larger_scale() -> None:
    def likeness(scale: float) -> Tensor:
        poses_FL = fitted("hdc-minirocket", features=9996, scale=scale).minirocket_enc["encoder"].poses_FL
        return (poses_FL * poses_FL[:, :1]).mean(0)

    mild, strong = likeness(1.0), likeness(4.0)
    assert mild[1] > mild[-1] and mild[1] > strong[1] > strong[3]
    torch.testing.assert_close(likeness(0.0), torch.ones(20), atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ("name", "bands", "options", "message"),
    [
        ("minirocket", 8, {}, "at least 9 bands, and the input has 8"),
        ("minirocket", 20, {"features": 10000}, "10000 features cannot be shared"),
        ("minirocket", 20, {"features": 0}, "0 features cannot be shared"),
        ("minirocket", 20, {"scale": 1.0}, "no option scale"),
        ("hdc-minirocket", 20, {"scale": -1.0}, "the scale -1.0"),
        ("hdc-minirocket", 20, {"scale": float("nan")}, "the scale nan"),
    ],
)
def test_bad_requests(name: str, bands: int, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        build_decoder(name, bands, 3, **options)


@BOTH
def test_a_run_fits_trains_and_repeats_itself(name: str, tmp_path: Path) -> None:
    tiny_store(tmp_path)
    values = {"decoder.features": 252, "epochs": 3, "lr": 1e-2, "batch": 64}
    runs = [
        hsray.train("tiny", name, task="spectral", out=tmp_path / str(n), data_root=tmp_path, seed=3, **values)
        for n in range(2)
    ]
    accuracy = [run["metrics"]["test/accuracy_micro"] for run in runs]
    assert accuracy[0] == accuracy[1] > 0.9
