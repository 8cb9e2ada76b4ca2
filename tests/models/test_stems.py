"""Stems: three channels out of any number of bands."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.errors import RequestError
from hsray.models import build_stem
from hsray.models.stems import SpectralAttention


def stem(nm_L: torch.Tensor, **options: int) -> SpectralAttention:
    torch.manual_seed(0)
    built = build_stem("spectral-attention", len(nm_L), nm_L, **options)
    assert isinstance(built, SpectralAttention)
    return built.eval()


@given(bands=st.integers(1, 140), low=st.floats(400, 900), size=st.tuples(st.integers(1, 20), st.integers(1, 20)))
@settings(max_examples=15, deadline=None)
def test_any_number_of_bands_is_mixed_within_their_range(bands: int, low: float, size: tuple[int, int]) -> None:
    image = torch.rand(2, bands, *size)
    mixed = stem(torch.linspace(low, low + 400, bands))(image)
    assert mixed.shape == (2, 3, *size)
    lowest, highest = image.amin(dim=1, keepdim=True), image.amax(dim=1, keepdim=True)
    assert (mixed >= lowest - 1e-5).all()
    assert (mixed <= highest + 1e-5).all()


def test_weights_of_one_sensor_fit_another() -> None:
    one, other = stem(torch.linspace(450, 950, 128)), stem(torch.linspace(535, 975, 25))
    other.load_state_dict(one.state_dict())


def test_a_stem_starts_as_a_picture_in_colours() -> None:
    nm = torch.linspace(450, 900, 46)  # 10 nm apart
    image = torch.zeros(1, 46, 8, 8)
    image[:, 19] = 1  # 640 nm: red
    red, green, blue = stem(nm)(image).mean(dim=(0, 2, 3)).tolist()
    assert red > 0.05
    assert red > 20 * max(green, blue)


def test_the_order_of_the_bands_does_not_matter() -> None:
    nm, image = torch.linspace(450, 900, 30), torch.rand(1, 30, 9, 9)
    shuffled = torch.randperm(30)
    torch.testing.assert_close(stem(nm)(image), stem(nm[shuffled])(image[:, shuffled]), rtol=1e-4, atol=1e-5)


def test_every_image_has_a_mixture_of_its_own() -> None:
    model = stem(torch.linspace(450, 900, 30))
    torch.nn.init.normal_(model.queries_3D)
    images = torch.rand(2, 30, 9, 9)
    images[1, 10:] = 0
    torch.testing.assert_close(model(images), torch.cat([model(images[:1]), model(images[1:])]))
    alike = torch.ones(1, 30, 9, 9) * torch.linspace(0, 1, 30)[:, None, None]
    assert not torch.allclose(model(alike), model(alike.flip(1)).flip(1), atol=1e-3)


def test_everything_that_is_built_learns() -> None:
    model = stem(torch.linspace(450, 900, 12)).train()
    model(torch.rand(1, 12, 9, 9)).square().sum().backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_bad_requests() -> None:
    with pytest.raises(RequestError, match="needs the wavelength"):
        build_stem("spectral-attention", 3, None)
    with pytest.raises(RequestError, match="cannot be 30 wide"):
        stem(torch.linspace(450, 900, 12), width=30)
