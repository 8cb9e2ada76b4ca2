"""LiuNet and Justo-LiuNet: how many bands they need, and evaluation in parts."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.errors import RequestError
from hsray.models import build_decoder


@settings(max_examples=15, deadline=None)
@given(bands=st.integers(16, 70), count=st.integers(1, 3), name=st.sampled_from(["liunet", "justo-liunet"]))
def test_any_number_of_bands_from_16_on(bands: int, count: int, name: str) -> None:
    model = build_decoder(name, bands, 4).eval()
    assert model(torch.rand(count, bands)).shape == (count, 4)
    model.train()(torch.rand(4, bands)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", ["liunet", "justo-liunet"])
def test_hyko2_has_too_few_bands(name: str) -> None:
    with pytest.raises(RequestError, match="4 blocks needs at least 16 bands, and the input has 15"):
        build_decoder(name, 15, 11)


@pytest.mark.parametrize("options", [{"kernels": []}, {"kernels": [8, 0]}, {"kernel_size": 4}, {"kernel_size": -1}])
def test_what_cannot_be_built(options: dict) -> None:
    with pytest.raises(RequestError, match="cannot be built"):
        build_decoder("liunet", 32, 4, **options)


def test_shallower_nets_take_fewer_bands() -> None:
    assert build_decoder("liunet", 15, 11, kernels=[8, 8, 8])(torch.rand(2, 15)).shape == (2, 11)


def test_parts_of_an_evaluation_keep_their_order() -> None:
    torch.manual_seed(0)
    model = build_decoder("liunet", 16, 3).eval()
    spectra_BL = torch.rand(5000, 16)
    with torch.inference_mode():
        whole = model(spectra_BL)
        torch.testing.assert_close(whole[4000:4500], model(spectra_BL[4000:4500]), atol=1e-6, rtol=1e-5)
