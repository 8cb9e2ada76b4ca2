"""What a final predicts, beside labels and pseudo-RGB: the file that every final of an image leaves."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np

from hsray.errors import HsrayError
from hsray.leaderboard.npz import UnreadableError, read_arrays

PREDICTIONS = "predictions.npz"
MOST_PIXELS = 2**26
_ARRAYS = ("rgb_HW3", "labels_HW", "prediction_HW", "class_rgb_K3", "class_names_K", "ignore_id", "score")


@dataclass(frozen=True)
class Maps:
    """A `predictions.npz`: rgb (H, W, 3), labels and prediction (H, W), class_rgb (K, 3), score a fraction of one."""

    rgb_HW3: np.ndarray
    labels_HW: np.ndarray
    prediction_HW: np.ndarray
    class_rgb_K3: np.ndarray
    class_names: tuple[str, ...]
    ignore_id: int
    score: float

    def painted(self, labels_HW: np.ndarray, unlabelled: tuple[int, int, int]) -> np.ndarray:
        """Class ids in their classes' colours (H, W, 3) uint8; `ignore_id` in that of `unlabelled`."""
        colours = np.vstack([self.class_rgb_K3, unlabelled]).astype(np.uint8)
        return colours[np.where(labels_HW == self.ignore_id, len(self.class_rgb_K3), labels_HW)]


def read_maps(path: Path) -> Maps:
    """Read a `predictions.npz`; nothing in it is executed.

    Raises:
        HsrayError: the file cannot be read or is no such file.
    """
    try:
        parts = read_arrays(path, _ARRAYS, 24 * MOST_PIXELS)
        maps = Maps(
            parts["rgb_HW3"], parts["labels_HW"], parts["prediction_HW"], parts["class_rgb_K3"],
            tuple(str(name) for name in parts["class_names_K"]), int(parts["ignore_id"]), float(parts["score"]),
        )  # fmt: skip
    except (UnreadableError, TypeError, ValueError) as error:  # of the last two: a number that is none
        _refuse(path, str(error))
    classes, shape = len(maps.class_names), maps.labels_HW.shape
    fits = maps.labels_HW.ndim == 2 and maps.prediction_HW.shape == shape and maps.rgb_HW3.shape == (*shape, 3)
    if not fits or not maps.labels_HW.size or maps.class_rgb_K3.shape != (classes, 3):
        _refuse(path, "its maps have different shapes")
    kinds = {maps.labels_HW.dtype.kind, maps.prediction_HW.dtype.kind}
    if not kinds <= {"i", "u"} or maps.rgb_HW3.dtype != np.uint8:
        _refuse(path, "its maps are no whole numbers")
    for labels in (maps.labels_HW, maps.prediction_HW):
        known = labels[labels != maps.ignore_id]
        if known.size and not 0 <= known.min() <= known.max() < classes:
            _refuse(path, "it holds classes that it does not name")
    return maps


def _refuse(path: Path, reason: str) -> NoReturn:
    raise HsrayError(f"a picture of predictions cannot be read: {reason}", where=str(path)) from None
