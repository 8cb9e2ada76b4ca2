"""Writes small raw files in the native formats of the benchmark's datasets."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import scipy.io
from PIL import Image

from hsray.datasets import catalog
from hsray.datasets.catalog import CatalogEntry

Images = dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]


def small(name: str, train: int = 3, val: int = 2, test: int = 2) -> CatalogEntry:
    """The catalogue's entry with a few images a split."""
    known = catalog.find(name)
    counts = {"train": train, "val": val, "test": test}
    return replace(known, splits={split: images[: counts[split]] for split, images in known.splits.items()})


def images_of(known: CatalogEntry, labels: list[int], shape: tuple[int, int] = (6, 8)) -> Images:
    """Random cubes with random raw labels for all images of an entry."""
    random = np.random.default_rng(7)
    return {
        (split, image): (
            random.random((*shape, len(known.wavelengths_nm)), dtype=np.float32),
            random.choice(labels, shape).astype(np.uint8),
        )
        for split, images in known.splits.items()
        for image in images
    }


def write_hyko2(raw: Path, images: Images) -> None:
    raw.mkdir(parents=True, exist_ok=True)
    for (_, image), (cube_HWC, labels_HW) in images.items():
        content = {"data": cube_HWC, "label_Semantic Classes for Urban Scenes": labels_HW}
        scipy.io.savemat(raw / f"{image}_spec_annotated.mat", content, do_compression=True, long_field_names=True)


def write_hsidrive(raw: Path, images: Images) -> None:
    cubes, labels = raw / "Image_dataset" / "cubes_fl32", raw / "Image_dataset" / "labels"
    cubes.mkdir(parents=True), labels.mkdir()
    for (_, image), (cube_HWC, labels_HW) in images.items():
        scipy.io.savemat(cubes / f"{image}_TC.mat", {"cube": cube_HWC.transpose(2, 0, 1)})
        Image.fromarray(labels_HW).save(labels / f"{image}.png")


def write_hcv2(raw: Path, known: CatalogEntry, images: Images) -> None:
    """Write cubes of full rank as principal components: score, coeff and mean of each give it back exactly enough."""
    for (split, image), (cube_HWC, labels_HW) in images.items():
        folder = raw / known.folders[split]
        (folder / "gt").mkdir(parents=True, exist_ok=True)
        write_hsd(folder / f"{image}.hsd", cube_HWC)
        Image.fromarray(labels_HW).save(folder / "gt" / f"rgb{image}_gray.png")


def write_hsd(path: Path, cube_HWC: np.ndarray) -> None:
    height, width, bands = cube_HWC.shape
    pixels = cube_HWC.reshape(-1, bands).astype(np.float64)
    mean = pixels.mean(axis=0)
    left, scale, coeff = np.linalg.svd(pixels - mean, full_matrices=False)
    header = struct.pack("<5ifi", height, width, bands, len(coeff), 449, 4.0, 957)
    parts = [array.astype("<f4").tobytes() for array in (mean, coeff, left * scale)]
    path.write_bytes(header + b"".join(parts))
