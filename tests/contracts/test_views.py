"""Every view with every normalisation: channels and shapes, the same twice, and carried by a checkpoint."""

from __future__ import annotations

from typing import get_args

import pytest
import torch

from hsray.datasets.store import CubeStore
from hsray.datasets.views import NORMALISATIONS, fit_view
from hsray.errors import RequestError
from hsray.strategies.strategy import View
from tests.contracts.small import ODD
from tests.tiny import tiny_store

CHANNELS = {"bands": 12, "pseudo-rgb": 3, "pca": 2, "mean": 1}
WHITENED = ("pca", "mean")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    return tiny_store(tmp_path_factory.mktemp("data"), size=ODD, images={"train": 3, "val": 1, "test": 1})


def test_every_view_and_normalisation_is_known_to_the_contract() -> None:
    kinds, asked = (View.model_fields[name].annotation for name in ("kind", "normalise"))
    assert set(get_args(kinds)) == set(CHANNELS)
    assert set(get_args(get_args(asked)[0])) == set(NORMALISATIONS)


@pytest.mark.parametrize("kind", CHANNELS)
@pytest.mark.parametrize("normalise", NORMALISATIONS)
def test_a_view_gives_its_channels_or_refuses(store: CubeStore, kind: str, normalise: str) -> None:
    try:
        view, again = (fit_view(store, [0, 2], kind, k=2, normalise=normalise) for _ in range(2))
    except RequestError:
        assert kind in WHITENED and normalise not in ("standard", "unit")
        return
    assert view.out_channels == CHANNELS[kind]
    assert (view.wavelengths_nm is None) == (kind != "bands"), "only whole bands have wavelengths"
    raw = torch.from_numpy(store.cube_HWC("train", store.images("train")[0]).copy())
    raw_1CHW = raw.float().permute(2, 0, 1)[None]
    raw_1CHW = raw_1CHW if view.channels is None else raw_1CHW[:, view.channels]
    map_1KHW = view.layer(raw_1CHW)
    assert map_1KHW.shape == (1, view.out_channels, *ODD) and torch.isfinite(map_1KHW).all()
    pixels_NK = view.layer(raw_1CHW.flatten(2)[0].T)
    torch.testing.assert_close(pixels_NK, map_1KHW.flatten(2)[0].T)
    assert torch.equal(again.layer(raw_1CHW), map_1KHW)
    other = fit_view(store, [1], kind, k=2, normalise=normalise).layer
    other.load_state_dict(view.layer.state_dict())
    assert torch.equal(other(raw_1CHW), map_1KHW), "all that was fitted lies in the checkpoint"


def test_more_components_than_bands_are_refused(store: CubeStore) -> None:
    with pytest.raises(RequestError, match="13 principal components"):
        fit_view(store, [0], "pca", k=13)
