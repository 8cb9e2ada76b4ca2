"""Fractions: nested, stratified, different by seed; the official subset is the reference's."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.datasets import training_subset
from hsray.datasets.fractions import stratified_order
from hsray.datasets.prepare import prepare
from hsray.errors import RequestError


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fractions")
    random = np.random.default_rng(0)
    labels = random.choice(5, 400, p=[0.5, 0.3, 0.1, 0.07, 0.03])
    np.savez(folder / "t.npz", spectra=random.random((400, 3)), label=labels, group=random.integers(0, 120, 400))
    (folder / "t.toml").write_text(
        'kind = "table"\nname = "t"\ntable = "t.npz"\nlabels = "label"\ngroup = "group"\n'
        "wavelengths = [450, 550, 650]\n[splits]\ntrain = 0.6\nval = 0.2\ntest = 0.2\n"
    )
    return prepare(folder / "t.toml", None, folder / "data")


def test_a_smaller_fraction_is_contained_in_a_larger(store):
    total = len(store.images("train"))
    for seed in range(3):
        subsets = [training_subset(store, fraction, seed) for fraction in (0.05, 0.1, 0.33, 0.8, 1.0)]
        for small, large in pairwise(subsets):
            assert set(small) < set(large)
        assert [len(subset) for subset in subsets] == [round(f * total) for f in (0.05, 0.1, 0.33, 0.8, 1.0)]
        assert all(len(set(subset)) == len(subset) for subset in subsets)
    assert subsets[-1] == list(range(total))


def test_seeds_differ_and_repeat(store):
    draws = [tuple(training_subset(store, 0.2, seed)) for seed in range(8)]
    assert len(set(draws)) == 8
    assert draws[3] == tuple(training_subset(store, 0.2, 3))
    # No image is everybody's favourite: a draw by chance would take one 1.6 times of 8.
    assert np.bincount(np.concatenate(draws)).max() <= 6


@given(st.integers(0, 1000), st.integers(20, 90), st.integers(1, 6))
@settings(max_examples=40, deadline=None)
def test_classes_stand_nearer_to_their_share_than_by_chance(seed, total, classes):
    random = np.random.default_rng(seed)
    presence_NK = random.random((total, classes)) < random.uniform(0.1, 0.9, classes)
    size = total // 3
    share_K = presence_NK.mean(axis=0)

    def error(order):
        return np.square(presence_NK[order].mean(axis=0) - share_K).sum()

    ours = np.mean([error(stratified_order(presence_NK, draw, size)) for draw in range(6)])
    chance = np.mean([error(random.permutation(total)[:size]) for _ in range(60)])
    assert ours <= chance


def test_single_label_images_are_stratified_almost_exactly():
    labels = np.repeat(np.arange(5), [200, 120, 80, 60, 40])
    presence_NK = labels[:, None] == np.arange(5)
    for size in (25, 50, 250):
        counts = np.bincount(labels[stratified_order(presence_NK, 0, size)], minlength=5)
        np.testing.assert_allclose(counts, presence_NK.sum(axis=0) * size / 500, atol=2)


def test_official_is_torchs_random_split(store):
    images = store.images("train")
    for percent in (5, 10, 37.5, 100):
        size = round(percent / 100 * len(images))
        generator = torch.Generator().manual_seed(42)
        expected, _ = torch.utils.data.random_split(images, [size, len(images) - size], generator=generator)
        for seed in (0, 9):
            assert [images[i] for i in training_subset(store, f"official:{percent}", seed)] == list(expected)


def test_a_fraction_that_leaves_no_image_names_the_smallest_that_works(store):
    for prefix, scale in (("", 1), ("official:", 100)):
        fraction = f"{prefix}{0.001 * scale}" if prefix else 0.001
        with pytest.raises(RequestError, match="leaves no image") as caught:
            training_subset(store, fraction, 0)
        smallest = caught.value.do.removeprefix("use at least ")
        assert len(training_subset(store, smallest if prefix else float(smallest), 0)) == 1


@pytest.mark.parametrize(
    "fraction", [0, -0.1, 1.01, float("nan"), "0.5", "official", "official:", "official:x", "official:101", True]
)
def test_what_is_no_fraction(store, fraction):
    with pytest.raises(RequestError, match="is not a fraction"):
        training_subset(store, fraction, 0)
