"""Statistics of every image, taken once at preparation: enough for normalisation, PCA, class weights and fractions."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from hsray.datasets.broken import UNREADABLE, open_npz
from hsray.errors import RequestError

ROWS = 65_536  # pixels converted to float64 at a time, so that a cube of gigabytes needs no second one


@dataclass(frozen=True)
class ImageStatistics:
    """Statistics of a split's images (N, in the order of `CubeStore.images`), all pixels counted, labelled or not.

    counts_N: pixels. means_NC: band means. variances_NC: population variances. class_pixels_NK: pixels of each class
    id. shapes_N2: height and width. `covariances_NCC` is read from disk when it is first asked for.
    """

    counts_N: np.ndarray
    means_NC: np.ndarray
    variances_NC: np.ndarray
    class_pixels_NK: np.ndarray
    shapes_N2: np.ndarray
    path: Path
    split: str

    @cached_property
    def covariances_NCC(self) -> np.ndarray:
        """Population covariance of the bands within each image, float32, read-only."""
        with _whole(self.path) as arrays:
            covariances_NCC = arrays[f"{self.split}/covariance"]
        if covariances_NCC.shape[1] == 0:  # images of one pixel: nothing varies, so nothing is stored
            bands = self.means_NC.shape[1]
            return np.broadcast_to(np.float32(0), (len(self.counts_N), bands, bands))
        return covariances_NCC


def record_dtype(bands: int, classes: int, *, covariance: bool = True) -> np.dtype:
    """Return the record of one image; a preparation appends one to a file for every image it has written."""
    side = bands if covariance else 0
    return np.dtype(
        [
            ("count", "<i8"),
            ("mean", "<f8", (bands,)),
            ("variance", "<f8", (bands,)),
            ("covariance", "<f4", (side, side)),
            ("class_pixels", "<i8", (classes,)),
            ("shape", "<i8", (2,)),
        ]
    )


def measure(cube_HWC: np.ndarray, labels_HW: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the record (shape (1,)) of one image. Two passes, the second about the mean: no cancellation."""
    height, width, bands = cube_HWC.shape
    pixels_PC = cube_HWC.reshape(-1, bands)
    chunks = [slice(start, start + ROWS) for start in range(0, len(pixels_PC), ROWS)]
    mean_C = sum(pixels_PC[rows].sum(axis=0, dtype=np.float64) for rows in chunks) / len(pixels_PC)
    scatter_CC = np.zeros((bands, bands))
    for rows in chunks:
        centred_PC = pixels_PC[rows] - mean_C
        scatter_CC += centred_PC.T @ centred_PC
    record = np.zeros(1, dtype)
    record["count"], record["mean"], record["shape"] = len(pixels_PC), mean_C, (height, width)
    record["variance"] = np.diag(scatter_CC) / len(pixels_PC)
    if dtype["covariance"].shape[0]:
        record["covariance"] = scatter_CC / len(pixels_PC)
    classes = dtype["class_pixels"].shape[0]
    record["class_pixels"] = np.bincount(np.asarray(labels_HW).ravel(), minlength=classes)
    return record


def save(path: Path, records: dict[str, np.ndarray]) -> None:
    """Write the records of every split as one npz."""
    arrays = {f"{split}/{field}": part[field] for split, part in records.items() for field in part.dtype.names or ()}
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)


def load(path: Path, split: str) -> ImageStatistics:
    """Read a split's statistics without its covariances."""
    with _whole(path) as arrays:
        names = ("count", "mean", "variance", "class_pixels", "shape")
        count, mean, variance, class_pixels, shape = (arrays[f"{split}/{name}"] for name in names)
    return ImageStatistics(count, mean, variance, class_pixels, shape, path, split)


@contextmanager
def _whole(path: Path) -> Iterator[Any]:
    try:
        with open_npz(path) as arrays:
            yield arrays
    except UNREADABLE as error:
        raise RequestError(
            "The statistics of this dataset cannot be read",
            where=str(path),
            do="prepare the dataset again with --overwrite",
        ) from error
