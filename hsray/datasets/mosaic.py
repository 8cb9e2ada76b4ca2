"""A picture of predictions: the blocks of a scene put back in their places, or one telling image."""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np

from hsray.datasets.pseudorgb import rgb_bands, stretch
from hsray.datasets.store import SPLITS, CubeStore

_BLOCK = re.compile(r"^r(\d+)c(\d+)$")
MAPPED_PIXELS = 2**25  # whole test sets of HyKo2 and HSI-Drive, a dozen images of Hyperspectral City


@dataclass(frozen=True)
class Mosaic:
    """Maps of one size: pseudo-RGB (H, W, 3) uint8, labels and predictions (H, W), `ignore_id` where there is none."""

    rgb_HW3: np.ndarray
    labels_HW: np.ndarray
    prediction_HW: np.ndarray


def shown_images(store: CubeStore) -> list[str]:
    """Test images worth showing: all blocks of a scene, else the image with most classes; none for loose spectra."""
    names = store.images("test")
    if names and all(_BLOCK.match(name) for name in names):
        return names
    statistics = store.statistics("test")
    if not names or int(statistics.shapes_N2.min(axis=1).max()) < 8:
        return []
    present_NK = statistics.class_pixels_NK > 0
    present_NK[:, store.ignore_id] = False
    return [names[int(present_NK.sum(axis=1).argmax())]]


def mapped_images(store: CubeStore) -> list[str]:
    """Test images whose predictions a final keeps, for those who look through them; the telling one first.

    All of several, or as many, evenly spread, as have together `MAPPED_PIXELS`. None for the blocks of a scene, which
    one picture shows together, and for loose spectra.
    """
    shown = shown_images(store)
    if not shown or _BLOCK.match(shown[0]):
        return []
    others = [name for name in store.images("test") if name != shown[0]]
    pixels = store.statistics("test").shapes_N2.prod(axis=1).mean()
    count = min(len(others), int(MAPPED_PIXELS // pixels) - 1)
    spread = [others[round(place)] for place in np.linspace(0, len(others) - 1, max(count, 0))]
    return shown + spread if spread else []


def mosaic(store: CubeStore, split: str, predictions: dict[str, np.ndarray]) -> Mosaic:
    """Put predicted label maps (by image) beside labels and pseudo-RGB; blocks of a scene lie where they belong."""
    if not all(_BLOCK.match(image) for image in predictions):
        image, predicted_HW = next(iter(predictions.items()))
        labels_HW = np.asarray(store.labels_HW(split, image))
        return Mosaic(pseudo_rgb(store, split, image), labels_HW, predicted_HW)
    grid, rows, columns = _grid(store)
    size = rows[-1], columns[-1]
    labels_HW = np.full(size, store.ignore_id)
    prediction_HW = np.full(size, store.ignore_id)
    rgb_HW3 = np.full((*size, 3), 40, np.uint8)
    cubes = _rgb([store.cube_HWC(s, name) for name, s in grid], store)
    for ((name, s), (row, column)), block_HW3 in zip(grid.items(), cubes, strict=True):
        height, width = block_HW3.shape[:2]
        area = slice(rows[row], rows[row] + height), slice(columns[column], columns[column] + width)
        rgb_HW3[area] = block_HW3
        if s == split and name in predictions:
            labels_HW[area] = store.labels_HW(s, name)
            prediction_HW[area] = predictions[name]
    return Mosaic(rgb_HW3, labels_HW, prediction_HW)


def pseudo_rgb(store: CubeStore, split: str, image: str) -> np.ndarray:
    """One image's pseudo-RGB (H, W, 3) uint8, stretched for itself."""
    return _rgb([store.cube_HWC(split, image)], store)[0]


def pixel_of(store: CubeStore, row: int, column: int) -> tuple[str, str, int, int] | None:
    """Whose pixel a place in the picture of a final's predictions is: split, image, and its row and column there.

    None where there is nothing: a block without data, or a place outside.
    """
    shown = shown_images(store)
    if not shown:
        return None
    if not _BLOCK.match(shown[0]):
        height, width = store.shape_HWC("test", shown[0])[:2]
        return ("test", shown[0], row, column) if 0 <= row < height and 0 <= column < width else None
    grid, rows, columns = _grid(store)
    for (name, split), (block_row, block_column) in grid.items():
        height, width = store.shape_HWC(split, name)[:2]
        y, x = row - int(rows[block_row]), column - int(columns[block_column])
        if 0 <= y < height and 0 <= x < width:
            return split, name, y, x
    return None


def _grid(store: CubeStore) -> tuple[dict[tuple[str, str], tuple[int, int]], np.ndarray, np.ndarray]:
    """Row and column of blocks by (image, split), and where each row and column starts."""
    places = {(name, s): _BLOCK.match(name) for s in SPLITS for name in store.images(s)}
    grid = {key: (int(match[1]), int(match[2])) for key, match in places.items() if match}
    rows = _offsets({row: store.shape_HWC(s, name)[0] for (name, s), (row, _) in grid.items()})
    columns = _offsets({column: store.shape_HWC(s, name)[1] for (name, s), (_, column) in grid.items()})
    return grid, rows, columns


def _offsets(sizes: dict[int, int]) -> np.ndarray:
    """Where each row or column of blocks starts, and the end; one without a block is as wide as the widest."""
    widest = max(sizes.values())
    return np.cumsum([0, *(sizes.get(index, widest) for index in range(max(sizes) + 1))])


def _rgb(cubes: list[np.ndarray], store: CubeStore) -> list[np.ndarray]:
    """Pseudo-RGB of cubes under one stretch."""
    bands = list(rgb_bands(store.wavelengths_nm))
    planes = [np.asarray(cube_HWC[..., bands]) for cube_HWC in cubes]
    low_3, high_3 = stretch(planes)
    scaled = [np.clip((plane - low_3) / (high_3 - low_3), 0, 1) for plane in planes]
    return [(plane * 255).round().astype(np.uint8) for plane in scaled]
