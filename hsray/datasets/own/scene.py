"""One scene with a label map; each block of it is an image of its own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsray.datasets.blocks import choose_layout
from hsray.datasets.classes import legend, to_ids
from hsray.datasets.own.arrays import found_wavelengths, read_array, read_cube
from hsray.datasets.own.description import Scene
from hsray.datasets.own.meaning import named_classes, wavelengths_nm
from hsray.datasets.source import Source, check_sizes
from hsray.datasets.store import SPLITS
from hsray.errors import RequestError


def scene_source(description: Scene, folder: Path) -> Source:
    """Return the source of a scene.

    Raises:
        RequestError: files are missing or broken, do not agree, or the blocks do not serve.
    """
    path, label_path = folder / description.cube, folder / description.labels
    cube_HWC = read_cube(path, description.cube_key, description.layout)
    labels_HW = read_array(label_path, description.label_key)
    wavelengths = wavelengths_nm(description, folder, cube_HWC.shape[-1], found_wavelengths(path))
    check_sizes(cube_HWC.shape, labels_HW.shape, len(wavelengths), str(label_path))
    named = named_classes(description, labels_HW)
    to_ids(labels_HW, dict.fromkeys([*named, *description.ignore], 0), str(label_path))
    blocks = description.splits
    if any(parts > size for parts, size in zip(blocks.grid, labels_HW.shape, strict=True)):
        raise RequestError(
            f"{blocks.grid[0]}×{blocks.grid[1]} blocks do not fit {labels_HW.shape[0]}×{labels_HW.shape[1]} pixels",
            where=f"dataset {description.name}, splits.grid",
        )
    layout = choose_layout(
        labels_HW, sorted(named), blocks.grid, blocks.shares, min_pixels=blocks.min_pixels, seed=blocks.seed
    )
    made = legend(named, description.ignore, layout.lacking)
    ids_HW = to_ids(labels_HW, made.mapping, str(label_path))
    # A block that holds left-out classes alone teaches nothing, and a mean over its pixels would be 0 / 0.
    kept = {
        (split, block.name): block
        for split in SPLITS
        for block in layout.splits[split]
        if (ids_HW[block.rows, block.columns] != made.ignore_id).any()
    }
    if len(made.classes) < 3:
        raise RequestError(
            f"Only {len(made.classes) - 1} class(es) stand in every split with {blocks.min_pixels} pixels",
            where=f"dataset {description.name}, splits",
            do="take a finer grid or fewer min_pixels",
        )

    def read(split: str, image: str) -> tuple[np.ndarray, np.ndarray]:
        block = kept[split, image]
        return cube_HWC[block.rows, block.columns], ids_HW[block.rows, block.columns]

    return Source(
        name=description.name,
        classes=made.classes,
        ignore_id=made.ignore_id,
        wavelengths_nm=wavelengths,
        splits={split: sorted(name for s, name in kept if s == split) for split in SPLITS},
        origin=description.model_dump(mode="json"),
        read=read,
        left_out=made.left_out,
        nodata=description.nodata,
    )
