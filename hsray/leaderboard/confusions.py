"""The confusion matrices that a final left of every test image."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import numpy as np
from numpy.typing import NDArray

from hsray.errors import HsrayError
from hsray.leaderboard.npz import UnreadableError, read_arrays

if TYPE_CHECKING:
    from hsray.leaderboard.mirror import Mirror

CONFUSION = "confusion.npz"
MOST_BYTES = 2 * 2**30  # unpacked; Hyperspectral City's 276 test images take a megabyte
KEPT = 512  # files that stay read
_BLOCK = re.compile(r"r\d+c\d+")  # how the blocks of a scene are named, by row and column


@dataclass(frozen=True)
class Confusions:
    """`confusion_NKK`: pixels of every test image, rows the true class, columns the predicted one. `images_N`: names.

    `class_names_K` counts the undefined class, whose number is `ignore_id`.
    """

    confusion_NKK: NDArray[np.int64]
    images_N: tuple[str, ...]
    class_names_K: tuple[str, ...]
    ignore_id: int

    @property
    def of_one_scene(self) -> bool:
        """Are the images blocks of one scene? Neighbours depend on each other, so that statistics over images fail."""
        return all(_BLOCK.fullmatch(image) for image in self.images_N)

    def same_test_set(self, other: Confusions) -> bool:
        """The same images, in whatever order, and the same classes?"""
        return (
            self.class_names_K == other.class_names_K
            and self.ignore_id == other.ignore_id
            and sorted(self.images_N) == sorted(other.images_N)
        )

    def of_images(self, images: tuple[str, ...]) -> NDArray[np.int64]:
        """The matrices in the order of these images, (N, K, K). Raises KeyError for one that is not there."""
        place = {image: number for number, image in enumerate(self.images_N)}
        return self.confusion_NKK[[place[image] for image in images]]


def read_confusions(path: Path) -> Confusions:
    """Read a `confusion.npz`; nothing in it is executed.

    Raises:
        HsrayError: the file cannot be read, is cut off, or is no such file; says which and why.
    """
    try:
        parts = read_arrays(path, ("confusion_NKK", "images_N", "class_names_K", "ignore_id"), MOST_BYTES)
    except UnreadableError as error:
        _refuse(path, str(error))
    return _checked(path, parts)


def _checked(path: Path, parts: dict[str, NDArray]) -> Confusions:
    matrices, images, names, ignore = (
        parts[one] for one in ("confusion_NKK", "images_N", "class_names_K", "ignore_id")
    )
    shape = matrices.shape
    if matrices.ndim != 3 or shape[1] != shape[2] or matrices.dtype.kind not in "iu" or 0 in shape:
        _refuse(path, f"confusion_NKK is no stack of square matrices of whole numbers ({matrices.dtype}, {shape})")
    if images.shape != shape[:1] or names.shape != shape[1:2] or len(set(images.tolist())) != len(images):
        _refuse(path, f"{shape[0]} matrices of {shape[1]} classes, {images.shape} images, {names.shape} class names")
    if ignore.shape != () or ignore.dtype.kind not in "iu":
        _refuse(path, "ignore_id is no whole number")
    if not 0 <= int(ignore) < len(names):
        _refuse(path, f"ignore_id {int(ignore)} is none of its {len(names)} classes")
    if matrices.min() < 0 or matrices.max() > 2**40:
        _refuse(path, "a count of pixels is negative or beyond all sense")
    return Confusions(
        matrices.astype(np.int64),
        tuple(str(image) for image in images),
        tuple(str(name) for name in names),
        int(ignore),
    )


def _refuse(path: Path, reason: str) -> NoReturn:
    raise HsrayError(
        f"these confusion matrices cannot be read: {reason}",
        where=str(path),
        do="remove the file, so that it is fetched again; if it stays so, the final has to be repeated (hsray redo)",
    ) from None


def confusions_of(mirror: Mirror) -> Callable[[str], Confusions | None]:
    """From a run's id to its confusion matrices, None where the run has none. A file is read once.

    The function raises what `Mirror.artifact` and `read_confusions` raise.
    """

    @lru_cache(maxsize=KEPT)
    def of(run_id: str) -> Confusions | None:
        path = mirror.artifact(run_id, CONFUSION)
        return None if path is None else read_confusions(path)

    return of
