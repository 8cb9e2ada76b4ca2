"""A folder of images, each with a label map, and a split file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsray.datasets.classes import legend, to_ids
from hsray.datasets.own.arrays import found_wavelengths, read_array, read_cube
from hsray.datasets.own.description import Folder
from hsray.datasets.own.meaning import named_classes, wavelengths_nm
from hsray.datasets.own.text import read_csv
from hsray.datasets.source import Source, check_sizes, missing_files
from hsray.datasets.store import SPLITS
from hsray.errors import RequestError
from hsray.roots import LONGEST


def folder_source(description: Folder, folder: Path) -> Source:
    """Return the source of a folder of images.

    Raises:
        RequestError: the split file is wrong, files are missing (they are named) or broken.
    """
    split_path = folder / description.splits
    splits = _read_splits(split_path)

    def cube_path(image: str) -> Path:
        return folder / description.cubes.replace("{image}", image)

    def label_path(image: str) -> Path:
        return folder / description.labels.replace("{image}", image)

    def cube(image: str) -> np.ndarray:
        return read_cube(cube_path(image), description.cube_key, description.layout)

    def labels(image: str) -> np.ndarray:
        return read_array(label_path(image), description.label_key)

    def survey(split: str, image: str) -> None:
        check_sizes(cube(image).shape, labels(image).shape, len(wavelengths), str(label_path(image)))
        to_ids(labels(image), made.mapping, str(label_path(image)))

    def read(split: str, image: str) -> tuple[np.ndarray, np.ndarray]:
        return cube(image), to_ids(labels(image), made.mapping, str(label_path(image)))

    images = [image for split in SPLITS for image in splits[split]]
    paths = [path for image in images for path in (cube_path(image), label_path(image))]
    if missing := [str(path.relative_to(folder)) for path in paths if not path.is_file()]:
        raise missing_files(missing, len(paths), f"{folder} (listed in {split_path.name})")
    first = cube_path(images[0])
    wavelengths = wavelengths_nm(description, folder, cube(images[0]).shape[-1], found_wavelengths(first))
    found = [np.unique(labels(image)) for image in images] if description.classes is None else []
    made = legend(named_classes(description, np.concatenate([np.zeros(0), *found])), description.ignore, {})
    return Source(
        name=description.name,
        classes=made.classes,
        ignore_id=made.ignore_id,
        wavelengths_nm=wavelengths,
        splits=splits,
        origin=description.model_dump(mode="json"),
        read=read,
        survey=survey,
        nodata=description.nodata,
    )


def _read_splits(path: Path) -> dict[str, list[str]]:
    if not path.is_file():
        raise RequestError("The split file is missing", where=str(path))
    splits: dict[str, list[str]] = {split: [] for split in SPLITS}
    seen: set[str] = set()
    header, *lines = read_csv(path) or [[]]
    if not {"image", "split"} <= set(header):
        raise RequestError("The split file needs the columns image and split", where=str(path))
    for number, line in enumerate(lines, 2):
        if not line:
            continue
        row = dict(zip(header, line, strict=False))
        image, split = row.get("image", ""), row.get("split", "")
        named = image and image not in seen and "/" not in image and image != ".." and len(image.encode()) <= LONGEST
        if split not in splits or not named:
            raise RequestError(
                f"Line {number} cannot be used: image {image!r}, split {split!r}",
                where=str(path),
                do="name every image once, without a slash, in train, val or test",
            )
        seen.add(image)
        splits[split].append(image)
    if empty := [split for split, images in splits.items() if not images]:
        raise RequestError(f"The split file has no image in {', '.join(empty)}", where=str(path))
    return {split: sorted(images) for split, images in splits.items()}
