"""Blocks of a scene: disjoint, covering, and shared out so that classes stand in every split."""

from __future__ import annotations

from itertools import product

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.datasets import SPLITS
from hsray.datasets.blocks import choose_layout, grid_blocks
from hsray.datasets.prepare import prepare

RATIOS = {"train": 0.5, "val": 0.2, "test": 0.3}


@given(st.integers(4, 60), st.integers(4, 60), st.integers(1, 4), st.integers(1, 4))
@settings(max_examples=60, deadline=None)
def test_blocks_are_disjoint_and_cover(height, width, rows, columns):
    seen = np.zeros((height, width), int)
    blocks = grid_blocks(height, width, (rows, columns))
    for block in blocks:
        seen[block.rows, block.columns] += 1
    assert (seen == 1).all()
    assert len({block.name for block in blocks}) == rows * columns
    sides = [block.rows.stop - block.rows.start for block in blocks]
    assert max(sides) - min(sides) <= 1


def test_as_many_classes_as_possible_stand_in_every_split():
    """Against all 3^6 layouts of six blocks with classes that can be satisfied only together by few of them."""
    random = np.random.default_rng(3)
    labels_HW = np.zeros((20, 30), int)
    for block, present in zip(grid_blocks(20, 30, (2, 3)), random.random((6, 6)) < 0.6, strict=True):
        area = labels_HW[block.rows, block.columns].reshape(-1)
        for index in np.flatnonzero(present):
            area[10 * index : 10 * index + 10] = index + 1
        labels_HW[block.rows, block.columns] = area.reshape(10, 10)
    counts = np.array(
        [[(labels_HW[b.rows, b.columns] == k).sum() for k in range(1, 7)] for b in grid_blocks(20, 30, (2, 3))]
    )
    best = max(
        sum(all(counts[np.array(layout) == s, k].sum() >= 5 for s in range(3)) for k in range(6))
        for layout in product(range(3), repeat=6)
    )
    found = choose_layout(labels_HW, list(range(1, 7)), (2, 3), RATIOS, min_pixels=5, seed=0)
    assert 6 - len(found.lacking) == best > 0


def test_layout_is_deterministic_and_names_what_it_leaves_out():
    labels_HW = np.random.default_rng(0).choice([1, 2], (40, 40))
    labels_HW[0, 0] = 3
    one, two = (choose_layout(labels_HW, [1, 2, 3], (5, 5), RATIOS, min_pixels=4, seed=1) for _ in range(2))
    assert one == two
    assert list(one.lacking) == [3] and "train" in one.lacking[3]
    share = {split: sum(map(lambda b: (b.rows.stop - b.rows.start) * 8, one.splits[split])) / 1600 for split in SPLITS}
    assert all(abs(share[split] - RATIOS[split]) < 0.06 for split in SPLITS)


def test_indian_pines_keeps_twelve_classes(tmp_path):
    store = prepare("indian-pines", None, tmp_path)
    assert store.bands == 200 and np.count_nonzero(np.diff(store.wavelengths_nm) < 0) == 2
    assert store.num_classes == 13 and len(store.left_out) == 4
    for split in SPLITS:
        statistics = store.statistics(split)
        assert (statistics.class_pixels_NK.sum(axis=0)[:12] >= 10).all()
        assert statistics.shapes_N2.min() >= 16
        assert ((statistics.class_pixels_NK[:, :12].sum(axis=1)) > 0).all()
    names = [image for split in SPLITS for image in store.images(split)]
    assert len(names) == len(set(names))
