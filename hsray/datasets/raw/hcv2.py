"""Hyperspectral City v2: cubes as principal components in .hsd files, labels as PNG files; both halved as published."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hsray.datasets.broken import broken
from hsray.datasets.raw import png

HEADER = struct.Struct("<5ifi")


@dataclass(frozen=True)
class Header:
    """The fixed part of a .hsd file."""

    height: int
    width: int
    bands: int
    components: int
    first_nm: int
    step_nm: float
    last_nm: int

    @property
    def values(self) -> int:
        """Number of float32 values after the header."""
        return self.bands + self.components * self.bands + self.height * self.width * self.components


def read_header(path: Path) -> Header:
    """Read the header of a .hsd file and check the file's length against it.

    Raises:
        RequestError: the file is truncated or no .hsd file.
    """
    with path.open("rb") as file:
        content = file.read(HEADER.size)
    if len(content) < HEADER.size:
        raise broken(path, EOFError(f"{len(content)} bytes of a header of {HEADER.size}"))
    header = Header(*HEADER.unpack(content))
    size, whole = path.stat().st_size, HEADER.size + 4 * header.values
    if min(header.height, header.width, header.bands, header.components) < 1 or size < whole:
        raise broken(path, EOFError(f"{size} bytes, its header speaks of {whole}"))
    return header


def read_cube(path: Path) -> np.ndarray:
    """Return score @ coeff + mean as a cube (H // 2, W // 2, C), float32: every second row and column, from the first.

    The nearest neighbour is taken before the product, which gives the same values for a quarter of the work.
    """
    header = read_header(path)
    values = np.memmap(path, "<f4", "r", HEADER.size, (header.values,))
    mean_C, coeff_DC, score = np.split(values, [header.bands, header.bands * (1 + header.components)])
    score_HWD = halved(score.reshape(header.height, header.width, header.components))
    return (score_HWD @ coeff_DC.reshape(header.components, header.bands) + mean_C).astype(np.float32, copy=False)


def halved(array_HW: np.ndarray) -> np.ndarray:
    """Halve height and width by nearest neighbour."""
    height, width = array_HW.shape[:2]
    return array_HW[: height // 2 * 2 : 2, : width // 2 * 2 : 2]


class HyperspectralCity:
    """Reads `<folder>/<image>.hsd` and `<folder>/gt/rgb<image>_gray.png`; the split says which folder."""

    def __init__(self, raw: Path) -> None:
        self._raw = raw

    def files(self, folder: str, image: str) -> tuple[Path, ...]:
        """Return the files of an image."""
        return self._raw / folder / f"{image}.hsd", self._raw / folder / "gt" / f"rgb{image}_gray.png"

    def shapes(self, folder: str, image: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Return the shapes of cube and labels before halving, from the headers."""
        cube, labels = self.files(folder, image)
        header = read_header(cube)
        return (header.height, header.width, header.bands), png.size_HW(labels)

    def read(self, folder: str, image: str) -> tuple[np.ndarray, np.ndarray]:
        """Return cube (H, W, C) and raw labels (H, W), both halved."""
        cube, labels = self.files(folder, image)
        return read_cube(cube), halved(png.load(labels))
