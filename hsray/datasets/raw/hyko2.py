"""HyKo2: one MATLAB file an image."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsray.datasets.raw import mat

CUBE, LABELS = "data", "label_Semantic Classes for Urban Scenes"


class IncompleteImageError(Exception):
    """A file that lacks a key. The reference leaves such files out."""


class HyKo2:
    """Reads `<image>_spec_annotated.mat`, wherever it lies below the raw folder."""

    def __init__(self, raw: Path) -> None:
        self._raw = raw
        self._found = {path.name: path for path in sorted(raw.rglob("*_spec_annotated.mat"))}

    def files(self, folder: str, image: str) -> tuple[Path, ...]:
        """Return the files of an image."""
        name = f"{image}_spec_annotated.mat"
        return (self._found.get(name, self._raw / name),)

    def shapes(self, folder: str, image: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of cube and labels, from the headers."""
        path = self.files(folder, image)[0]
        found = mat.variables(path)
        lacking = [key for key in (CUBE, LABELS) if key not in found]
        if lacking:
            raise IncompleteImageError(f"{path} lacks the key {' and '.join(map(repr, lacking))}")
        return found[CUBE], found[LABELS]

    def read(self, folder: str, image: str) -> tuple[np.ndarray, np.ndarray]:
        """Return cube (H, W, C) and raw labels (H, W)."""
        path = self.files(folder, image)[0]
        return mat.load(path, CUBE), mat.load(path, LABELS)
