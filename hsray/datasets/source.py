"""What preparation reads from: raw images, one by one, with labels already turned into class ids."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hsray.datasets.classes import ClassInfo
from hsray.errors import RequestError

MISSING_SHOWN = 20


def nothing(split: str, image: str) -> None:
    """Survey of a source that was checked as a whole when it was opened."""


@dataclass
class Source:
    """A raw dataset.

    `read(split, image)` returns the raw cube (H, W, C) and the class ids (H, W). `survey(split, image)` checks what is
    cheap to check: files whole, sizes that agree. Both raise RequestError. `skipped`, filled by `survey`, holds the
    images to leave out, as (split, image), with the reason.
    """

    name: str
    classes: tuple[ClassInfo, ...]
    ignore_id: int
    wavelengths_nm: tuple[float, ...]
    splits: dict[str, list[str]]
    origin: dict[str, Any]
    read: Callable[[str, str], tuple[np.ndarray, np.ndarray]]
    survey: Callable[[str, str], None] = nothing
    left_out: tuple[dict[str, str], ...] = ()
    nodata: float | None = None
    one_pixel_images: bool = False
    skipped: dict[tuple[str, str], str] = field(default_factory=dict)


def check_sizes(cube_shape: tuple[int, ...], labels_shape: tuple[int, ...], bands: int, where: str) -> None:
    """Check a cube against its labels and the wavelengths.

    Raises:
        RequestError: labels are of another size than the cube, or wavelengths do not match its bands.
    """
    if len(cube_shape) != 3:
        raise RequestError(f"The cube has {len(cube_shape)} dimensions; three are needed (H, W, C)", where=where)
    if tuple(labels_shape) != tuple(cube_shape[:2]):
        raise RequestError(
            f"The labels are of another size than the cube: {_size(labels_shape)} against {_size(cube_shape[:2])}",
            where=where,
            do='give the label map of this very image; where a cube is stored bands first, set layout = "CHW"',
        )
    if cube_shape[2] != bands:
        raise RequestError(
            f"The wavelengths do not match the bands: {bands} wavelengths, {cube_shape[2]} bands",
            where=where,
            do="give one wavelength in nm for each band",
        )


def missing_files(missing: list[str], total: int, where: str) -> RequestError:
    """Return the error that names missing files."""
    more = f"\n  … and {len(missing) - MISSING_SHOWN} more" if len(missing) > MISSING_SHOWN else ""
    return RequestError(
        f"{len(missing)} of {total} raw files are missing:\n  " + "\n  ".join(missing[:MISSING_SHOWN]) + more,
        where=where,
        do="complete the files, or name the folder that holds them",
    )


def _size(shape: tuple[int, ...]) -> str:
    return "×".join(map(str, shape))
