"""Which test images a final shows, and of which it keeps the predictions."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest

from hsray.datasets import mosaic
from hsray.datasets.mosaic import mapped_images, shown_images
from tests.tiny import tiny_store


def test_predictions_are_kept_of_all_test_images_or_of_some_spread_evenly(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = tiny_store(tmp_path, images={"train": 1, "val": 1, "test": 21})
    found = mapped_images(store)
    assert found[0] == shown_images(store)[0] and sorted(found) == store.images("test")
    monkeypatch.setattr(mosaic, "MAPPED_PIXELS", 6 * 16 * 16)
    few = mapped_images(store)
    assert len(few) == len(set(few)) == 6 and few[0] == found[0]
    others = [name for name in store.images("test") if name != few[0]]
    places = [others.index(name) for name in few[1:]]
    assert (places[0], places[-1]) == (0, 19)
    assert {after - before for before, after in pairwise(places)} <= {4, 5}


def test_of_one_image_and_of_loose_spectra_no_maps_are_kept(tmp_path: Path) -> None:
    assert mapped_images(tiny_store(tmp_path / "one", images={"train": 1, "val": 1, "test": 1})) == []
    assert mapped_images(tiny_store(tmp_path / "loose", size=(1, 1))) == []
