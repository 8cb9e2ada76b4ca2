"""A scene cut into rectangular blocks, and the blocks shared out among the splits so that no pixel is in two."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from hsray.datasets.store import SPLITS

STARTS = 12
SWEEPS = 30


@dataclass(frozen=True)
class Block:
    """A rectangle of a scene; its name says where it lies in the grid."""

    name: str
    rows: slice
    columns: slice


@dataclass(frozen=True)
class Layout:
    """Blocks by split, and the raw class ids that do not stand in every split."""

    splits: dict[str, list[Block]]
    lacking: dict[int, str]


def grid_blocks(height: int, width: int, grid: tuple[int, int]) -> list[Block]:
    """Cut an area into grid[0] × grid[1] disjoint blocks that cover it; sides differ by one pixel at most."""
    rows = np.linspace(0, height, grid[0] + 1).round().astype(int)
    columns = np.linspace(0, width, grid[1] + 1).round().astype(int)
    return [
        Block(f"r{row:02d}c{column:02d}", slice(int(top), int(bottom)), slice(int(left), int(right)))
        for row, (top, bottom) in enumerate(pairwise(rows))
        for column, (left, right) in enumerate(pairwise(columns))
    ]


def choose_layout(
    labels_HW: np.ndarray,
    class_ids: list[int],
    grid: tuple[int, int],
    ratios: dict[str, float],
    *,
    min_pixels: int,
    seed: int,
) -> Layout:
    """Share the blocks out so that as many classes as possible have `min_pixels` in every split.

    Among layouts with as many classes, the one whose class shares are nearest to the ratios (mean squared difference
    over classes and splits). A seeded local search: from several random starts, move single blocks and swap pairs for
    as long as that helps. The same input gives the same layout. Blocks without any label stand in no split.
    """
    blocks = grid_blocks(labels_HW.shape[0], labels_HW.shape[1], grid)
    counts_BK = np.array([[np.sum(labels_HW[b.rows, b.columns] == raw) for raw in class_ids] for b in blocks])
    labelled = np.flatnonzero(counts_BK.sum(axis=1))
    blocks, counts_BK = [blocks[index] for index in labelled], counts_BK[labelled]
    shares_S = np.array([ratios[split] for split in SPLITS])
    assignment_B = _search(counts_BK, shares_S / shares_S.sum(), min_pixels, np.random.default_rng(seed))
    pixels_SK = _pixels(counts_BK, assignment_B)
    splits = {split: [blocks[b] for b in np.flatnonzero(assignment_B == index)] for index, split in enumerate(SPLITS)}
    return Layout(splits, lacking_classes(pixels_SK, class_ids, min_pixels))


def lacking_classes(pixels_SK: np.ndarray, class_ids: list[int], min_pixels: int) -> dict[int, str]:
    """Return the classes with fewer than `min_pixels` in some split, with a sentence that says where."""
    lacking = {}
    for raw, pixels_S in zip(class_ids, pixels_SK.T, strict=True):
        if pixels_S.min() < min_pixels:
            counts = ", ".join(f"{split} {pixels}" for split, pixels in zip(SPLITS, pixels_S, strict=True))
            lacking[raw] = f"fewer than {min_pixels} labelled in some split ({counts})"
    return lacking


def _search(counts_BK: np.ndarray, shares_S: np.ndarray, min_pixels: int, random: np.random.Generator) -> np.ndarray:
    total = len(counts_BK)
    best: tuple[tuple[int, float], np.ndarray] | None = None
    for _ in range(STARTS):
        assignment_B = random.permutation(np.searchsorted(np.cumsum(shares_S), (np.arange(total) + 0.5) / total))
        score = _score(counts_BK, assignment_B, shares_S, min_pixels)
        for _ in range(SWEEPS):
            before = score
            for block in random.permutation(total):
                moves = [(block, split, None) for split in range(len(SPLITS)) if split != assignment_B[block]]
                swaps = [(block, assignment_B[o], o) for o in range(total) if assignment_B[o] != assignment_B[block]]
                for one, split, other in moves + swaps:
                    trial_B = assignment_B.copy()
                    if other is not None:
                        trial_B[other] = assignment_B[one]
                    trial_B[one] = split
                    if (found := _score(counts_BK, trial_B, shares_S, min_pixels)) > score:
                        assignment_B, score = trial_B, found
                        break
            if score == before:
                break
        if best is None or score > best[0]:
            best = score, assignment_B
    assert best is not None
    return best[1]


def _score(counts_BK: np.ndarray, assignment_B: np.ndarray, shares_S: np.ndarray, min_pixels: int) -> tuple[int, float]:
    """Number of classes that stand in every split; then how near their shares are to the ratios."""
    pixels_SK = _pixels(counts_BK, assignment_B)
    error = ((pixels_SK / pixels_SK.sum(axis=0).clip(1) - shares_S[:, None]) ** 2).mean()
    return int((pixels_SK.min(axis=0) >= min_pixels).sum()), -float(error)


def _pixels(counts_BK: np.ndarray, assignment_B: np.ndarray) -> np.ndarray:
    return np.equal.outer(np.arange(len(SPLITS)), assignment_B).astype(np.int64) @ counts_BK
