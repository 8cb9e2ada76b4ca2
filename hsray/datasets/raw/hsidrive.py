"""HSI-Drive v2: cubes as MATLAB files, bands first; labels as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsray.datasets.raw import mat, png
from hsray.errors import RequestError

CUBE = "cube"


class HSIDrive:
    """Reads `Image_dataset/cubes_fl32/<image>_TC.mat` and `Image_dataset/labels/<image>.png`."""

    def __init__(self, raw: Path) -> None:
        self._raw = raw if (raw / "cubes_fl32").is_dir() else raw / "Image_dataset"

    def files(self, folder: str, image: str) -> tuple[Path, ...]:
        """Return the files of an image."""
        return self._raw / "cubes_fl32" / f"{image}_TC.mat", self._raw / "labels" / f"{image}.png"

    def shapes(self, folder: str, image: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of cube and labels, from the headers."""
        cube, labels = self.files(folder, image)
        found = mat.variables(cube)
        if CUBE not in found:
            raise RequestError(f"This file lacks the key {CUBE!r}", where=str(cube), do="get it anew")
        return (*found[CUBE][1:], found[CUBE][0]), png.size_HW(labels)

    def read(self, folder: str, image: str) -> tuple[np.ndarray, np.ndarray]:
        """Return cube (H, W, C) and raw labels (H, W)."""
        cube, labels = self.files(folder, image)
        return mat.load(cube, CUBE).transpose(1, 2, 0), png.load(labels)
