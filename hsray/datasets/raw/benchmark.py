"""A dataset of the catalogue in its native raw format, with its official splits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np

from hsray.datasets.catalog import CatalogEntry
from hsray.datasets.classes import to_ids
from hsray.datasets.raw.hcv2 import HyperspectralCity
from hsray.datasets.raw.hsidrive import HSIDrive
from hsray.datasets.raw.hyko2 import HyKo2, IncompleteImageError
from hsray.datasets.source import Source, check_sizes, missing_files
from hsray.errors import RequestError


class RawFormat(Protocol):
    """Reads images of one raw layout, each found by its folder and name."""

    def files(self, folder: str, image: str) -> tuple[Path, ...]:
        """Return the files of an image: the cube's first, the labels' last."""
        ...

    def shapes(self, folder: str, image: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of cube (H, W, C) and labels (H, W), from the headers."""
        ...

    def read(self, folder: str, image: str) -> tuple[np.ndarray, np.ndarray]:
        """Return cube (H, W, C) and raw labels (H, W)."""
        ...


FORMATS: dict[str, Callable[[Path], RawFormat]] = {"hyko2": HyKo2, "hsidrive": HSIDrive, "hcv2": HyperspectralCity}


def benchmark_source(known: CatalogEntry, raw: Path) -> Source:
    """Return the source of a dataset whose raw files lie below the folder `raw`.

    Raises:
        RequestError: files of the official splits are missing; they are named.
    """
    if not raw.is_dir():
        raise RequestError("The folder of raw files is not there", where=str(raw))
    reader: RawFormat = FORMATS[known.format](raw)
    mapping = {info.id: info.id for info in known.classes} | known.remap

    def files(split: str, image: str) -> tuple[Path, ...]:
        return reader.files(known.folders.get(split, ""), image)

    def survey(split: str, image: str) -> None:
        try:
            cube_shape, labels_shape = reader.shapes(known.folders.get(split, ""), image)
        except IncompleteImageError as error:
            source.skipped[split, image] = str(error)
            return
        check_sizes(cube_shape, labels_shape, len(known.wavelengths_nm), str(files(split, image)[-1]))

    def read(split: str, image: str) -> tuple[np.ndarray, np.ndarray]:
        cube_HWC, labels_HW = reader.read(known.folders.get(split, ""), image)
        return cube_HWC, to_ids(labels_HW, mapping, str(files(split, image)[-1]))

    wanted = [path for split, images in known.splits.items() for image in images for path in files(split, image)]
    if missing := [str(path.relative_to(raw)) for path in wanted if not path.is_file()]:
        raise missing_files(missing, len(wanted), f"{raw} ({known.name})")
    source = Source(
        name=known.name,
        classes=known.classes,
        ignore_id=known.ignore_id,
        wavelengths_nm=known.wavelengths_nm,
        splits=known.splits,
        origin={"kind": "benchmark", "catalog": known.name, "title": known.title},
        read=read,
        survey=survey,
    )
    return source
