"""Batches: what is drawn does not depend on who shares the work."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hsray.datasets import CubeStore
from hsray.datasets.samples import CropBatches, Reader, Shard, SpectraBatches
from hsray.datasets.views import fit_view
from hsray.training.evaluation import image_logits, windows
from tests.tiny import tiny_store


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Reader:
    return Reader(((tiny_store(tmp_path_factory.mktemp("data")), None),))


def crops(reader: Reader, shard: Shard = Shard(), loaders: int = 0) -> CropBatches:
    return CropBatches(
        reader, [0, 2, 3], batch=4, crop=8, crops_per_image=3, flip=0.5, seed=1, shard=shard, loaders=loaders
    )


def spectra(store: CubeStore, subset: list[int]) -> np.ndarray:
    images = [store.images("train")[index] for index in subset]
    return np.concatenate([store.cube_HWC("train", image).reshape(-1, store.bands) for image in images])


def test_two_workers_share_exactly_the_batches_of_one(reader: Reader) -> None:
    alone = list(crops(reader).epoch(3))
    first, second = (list(crops(reader, Shard(rank, 2)).epoch(3)) for rank in (0, 1))
    assert len(alone) == len(first) == len(second) == crops(reader).updates
    for (x, y), (x0, y0), (x1, y1) in zip(alone, first, second, strict=True):
        assert torch.equal(x[0::2], x0) and torch.equal(x[1::2], x1)
        assert torch.equal(y[0::2], y0) and torch.equal(y[1::2], y1)


def test_loader_processes_do_not_change_the_batches(reader: Reader) -> None:
    for (x, y), (x2, y2) in zip(crops(reader).epoch(0), crops(reader, loaders=1).epoch(0), strict=True):
        assert torch.equal(x, x2) and torch.equal(y, y2)


def test_epochs_differ_and_repeat(reader: Reader) -> None:
    first, again, other = (torch.cat([x for x, _ in crops(reader).epoch(e)]) for e in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


@pytest.mark.parametrize("start", [0, 1, 3, 6, 8])
@pytest.mark.parametrize("task", ["crops", "spectra"])
def test_from_an_update_on_come_the_same_batches_and_nothing_before_is_read(
    reader: Reader, monkeypatch: pytest.MonkeyPatch, task: str, start: int
) -> None:
    def batches() -> CropBatches | SpectraBatches:
        common = {"batch": 3, "seed": 1, "min_updates": 8}
        if task == "crops":
            return CropBatches(reader, [0, 2, 3, 4], crop=8, crops_per_image=1, flip=0.5, **common)
        return SpectraBatches(reader, [0, 2], pixels_per_image=3, **common)

    def epoch(start: int) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], int]:
        read = []
        block = Reader.block_HWC
        with monkeypatch.context() as counted:
            counted.setattr(Reader, "block_HWC", lambda *given: read.append(1) or block(*given))
            return list(batches().epoch(2, start)), len(read)

    (whole, all_read), (rest, read) = epoch(0), epoch(start)
    assert len(rest) == len(whole) - start == 8 - start
    assert all(
        torch.equal(a, b) for one, two in zip(whole[start:], rest, strict=True) for a, b in zip(one, two, strict=True)
    )
    assert read <= all_read * (8 - start + 1) / 8


def test_a_worker_without_samples_gets_one_that_counts_nothing(reader: Reader) -> None:
    alone = CropBatches(reader, [0], batch=1, crop=8, crops_per_image=1, flip=0, seed=0, shard=Shard(1, 2))
    [(_, labels)] = alone.epoch(0)
    assert (labels == reader.store.ignore_id).all()


def test_spectra_are_the_labelled_pixels(reader: Reader) -> None:
    batches = SpectraBatches(reader, [1], batch=64, pixels_per_image=None, seed=0)
    x, y = (torch.cat(part) for part in zip(*batches.epoch(0), strict=True))
    labels = reader.labels_HW("train", reader.store.images("train")[1])
    assert len(y) == (labels != 0).sum() and not (y == 0).any()
    cube = reader.store.cube_HWC("train", reader.store.images("train")[1])
    wanted = cube[labels != 0]
    assert np.allclose(np.sort(x.numpy().sum(1)), np.sort(wanted.sum(1)), atol=1e-5)


def test_pixels_of_an_image_are_limited_and_drawn_anew(reader: Reader) -> None:
    batches = SpectraBatches(reader, [0, 1], batch=16, pixels_per_image=20, seed=0)
    epochs = [torch.cat([x for x, _ in batches.epoch(e)]) for e in (0, 1)]
    assert batches.updates == 3 and all(len(x) == 40 for x in epochs)
    assert not torch.equal(epochs[0].sort(0)[0], epochs[1].sort(0)[0])


def test_little_data_is_passed_over_until_there_are_enough_updates(reader: Reader) -> None:
    common = {"batch": 4, "crop": 8, "crops_per_image": 3, "flip": 0.5, "seed": 1}
    once, often = CropBatches(reader, [0], **common), CropBatches(reader, [0], min_updates=4, **common)
    assert once.updates == 1 and often.updates == 4
    passes = [x for x, _ in often.epoch(2)]
    assert len(passes) == 4 and all(len(x) == 3 for x in passes)
    assert not torch.equal(passes[0].sort(0)[0], passes[1].sort(0)[0]), "crops are drawn anew in every pass"
    spectra = SpectraBatches(reader, [0], batch=64, pixels_per_image=100, seed=0, min_updates=5)
    assert spectra.updates == 6 == len(list(spectra.epoch(0)))


@given(st.integers(1, 300), st.integers(1, 120), st.floats(0, 0.9))
def test_windows_cover_everything_and_stay_inside(size: int, window: int, overlap: float) -> None:
    covered = np.zeros(size, bool)
    for one in windows(size, window, overlap):
        assert 0 <= one.start < one.stop <= size
        assert one.stop - one.start == min(window, size)
        covered[one] = True
    assert covered.all()


def test_views_are_fitted_on_the_subset_alone(reader: Reader) -> None:
    store, subset = reader.store, [1, 4]
    pixels = spectra(store, subset)
    x = torch.from_numpy(pixels)
    standard = fit_view(store, subset, "bands").layer(x)
    assert torch.allclose(standard.mean(0), torch.zeros(store.bands), atol=1e-4)
    assert torch.allclose(standard.std(0, unbiased=False), torch.ones(store.bands), atol=1e-3)
    components = fit_view(store, subset, "pca", k=4).layer(x)
    covariance = torch.from_numpy(np.cov(components.numpy().T, bias=True)).float()
    assert torch.allclose(covariance, torch.eye(4), atol=5e-2)
    mean = pixels.mean(1)
    expected = torch.from_numpy((mean - mean.mean()) / mean.std())[:, None]
    assert torch.allclose(fit_view(store, subset, "mean").layer(x), expected, atol=1e-3)
    largest = fit_view(store, subset, "bands", normalise="max").layer(x).amax(1)
    assert torch.allclose(largest, torch.ones(len(x)))


def test_pca_finds_the_directions_of_a_full_decomposition(reader: Reader) -> None:
    store, subset = reader.store, [0, 1, 2]
    pixels = spectra(store, subset)
    _, _, directions = np.linalg.svd(pixels - pixels.mean(0), full_matrices=False)
    found = fit_view(store, subset, "pca", k=1).layer.projection_CK[:, 0].numpy()
    assert abs(directions[0] @ found / np.linalg.norm(found)) == pytest.approx(1, abs=1e-4)


def test_windows_give_a_pixelwise_model_the_same_logits_as_the_whole_image(reader: Reader) -> None:
    store = reader.store
    pixelwise = torch.nn.Conv2d(store.bands, store.num_classes, 1)
    how = {"task": "segmentation", "overlap": 0.3, "device": torch.device("cpu")}
    image = store.images("test")[0]
    whole, parts = (image_logits(pixelwise, reader, "test", image, window=window, **how) for window in (None, 9))
    assert whole.shape == (store.num_classes, 16, 16)
    assert torch.allclose(whole, parts, atol=1e-5)
