"""Can every image of a dataset be read, and is it what was prepared? Asked before hours are spent, so little is read.

Of each image: that its file holds all of it, its first and last rows, and its labels as a whole. Values come by plain
reads and not through a memory map, where a bad sector would end the process. A small dataset is read and hashed whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hsray.datasets.broken import UNREADABLE
from hsray.datasets.store import SPLITS, CubeStore, Entry
from hsray.datasets.writer import content_hash, fingerprint
from hsray.errors import RequestError

HASHED_BYTES = 64 * 2**20  # a dataset up to this size is read and hashed whole
REPAIR = "get the file anew, or prepare the dataset again with --overwrite"


def image_problems(stores: Iterable[CubeStore]) -> list[RequestError]:
    """One error for every image that cannot be read or is not what was prepared: dataset, split, image, file, reason.

    A file that is missing or cannot be opened is one error. Takes about 0.1 ms an image, beside reading its labels.
    """
    return [problem for store in {store.path: store for store in stores}.values() for problem in _problems(store)]


def _problems(store: CubeStore) -> list[RequestError]:
    whole = sum(_cube_bytes(entry) for split in SPLITS for entry in store.entries(split)) <= HASHED_BYTES
    found: list[RequestError] = []
    hashes: dict[str, dict[str, str]] = {split: {} for split in SPLITS}
    for split in SPLITS:
        file = store.file(split)
        try:
            expected = store.statistics(split)
            with _Reader(file) as reader:
                for number, entry in enumerate(store.entries(split)):
                    try:
                        labels_HW = store.class_ids(reader.whole(entry, "labels"))
                        cube_HWC = reader.whole(entry, "image") if whole else reader.edges(entry)
                        _check_labels(labels_HW, expected.class_pixels_NK[number])
                        _check_values(cube_HWC)
                        if whole:
                            _check_means(cube_HWC, expected.means_NC[number], expected.variances_NC[number])
                            hashes[split][entry.name] = content_hash(cube_HWC, labels_HW)
                    except UNREADABLE as error:
                        where = f"dataset {store.name}, split {split}, image {entry.name}; {file}"
                        found.append(RequestError(f"an image cannot be read: {_reason(error)}", where=where, do=REPAIR))
        except RequestError as error:
            found.append(error)
        except UNREADABLE as error:
            where = f"dataset {store.name}, split {split}; {file}"
            found.append(RequestError(f"a split cannot be read: {_reason(error)}", where=where, do=REPAIR))
    if whole and not found:
        nm = tuple(store.wavelengths_nm.tolist())
        now = fingerprint(store.classes, store.ignore_id, nm, hashes)
        if now != store.fingerprint:
            what = f"the data are not those that were prepared: their fingerprint is {now}, not {store.fingerprint}"
            found.append(RequestError(what, where=f"dataset {store.name}; {store.path}", do=REPAIR))
    return found


class _Reader:
    """Reads arrays of one file at their offsets; chunked and compressed ones, which have none, by h5py."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self._stack = ExitStack()

    def __enter__(self) -> _Reader:
        raw = self._stack.enter_context(self.file.open("rb", buffering=0))
        self._raw, self._size = raw.fileno(), os.fstat(raw.fileno()).st_size
        self._handle: h5py.File | None = None
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    def whole(self, entry: Entry, key: str) -> np.ndarray:
        """`labels` (H, W) or `image` (H, W, C)."""
        dtype, offset = _layout(entry, key)
        shape = entry.shape if key == "image" else entry.shape[:2]
        if offset is None:
            found = self._hdf5(entry, key)
            if found.size != np.prod(shape):  # before it is read: it may be of any size
                raise ValueError(f"its {key} are {found.shape}, and the index says {shape}")
            return found[()].reshape(shape)
        return self._values(offset, dtype, shape)

    def edges(self, entry: Entry) -> np.ndarray:
        """The first and the last row of a cube, (2, W, C); of a chunked one, with the chunks they lie in."""
        dtype, offset = _layout(entry, "image")
        if offset is None:
            cube = self._hdf5(entry, "image")
            if cube.shape != entry.shape:
                raise ValueError(f"the cube is {cube.shape}, and the index says {entry.shape}")
            return np.stack([cube[0], cube[-1]])
        row = _cube_bytes(entry) // entry.shape[0]
        first = self._values(offset, dtype, entry.shape[1:])
        return np.stack([first, self._values(offset + row * (entry.shape[0] - 1), dtype, entry.shape[1:])])

    def _values(self, offset: int, dtype: np.dtype, shape: tuple[int, ...]) -> np.ndarray:
        size = int(np.prod(shape)) * dtype.itemsize
        if offset + size > self._size:
            raise ValueError(f"the file ends at byte {self._size:,}, and it goes up to byte {offset + size:,}")
        parts: list[bytes] = []
        while size > 0 and (part := os.pread(self._raw, size, offset)):
            parts.append(part)
            size, offset = size - len(part), offset + len(part)
        if size:
            raise ValueError(f"{size:,} bytes are missing at byte {offset:,}")
        return np.frombuffer(b"".join(parts), dtype).reshape(shape)

    def _hdf5(self, entry: Entry, key: str) -> Any:
        if self._handle is None:
            self._handle = self._stack.enter_context(h5py.File(self.file, "r"))
        return self._handle[entry.name][key]


def _layout(entry: Entry, key: str) -> tuple[np.dtype, int | None]:
    if key == "labels":
        return np.dtype(entry.label_dtype), entry.label_offset
    return np.dtype(entry.cube_dtype), entry.cube_offset


def _cube_bytes(entry: Entry) -> int:
    return int(np.prod(entry.shape)) * np.dtype(entry.cube_dtype).itemsize


def _check_labels(labels_HW: np.ndarray, expected_K: np.ndarray) -> None:
    classes = len(expected_K)
    low, high = int(labels_HW.min(initial=0)), int(labels_HW.max(initial=0))
    if low < 0 or high >= classes:
        raise ValueError(f"its labels hold the id {low if low < 0 else high}; the classes are 0 to {classes - 1}")
    if not np.array_equal(np.bincount(labels_HW.ravel(), minlength=classes), expected_K):
        raise ValueError("its labels are not those that were prepared (other numbers of pixels a class)")


def _check_values(cube: np.ndarray) -> None:
    if np.issubdtype(cube.dtype, np.floating) and not np.isfinite(cube).all():
        raise ValueError("its cube holds values that are NaN or infinite")


def _check_means(cube_HWC: np.ndarray, mean_C: np.ndarray, variance_C: np.ndarray) -> None:
    now_C = cube_HWC.reshape(-1, len(mean_C)).mean(axis=0, dtype=np.float64)
    if (abs(now_C - mean_C) > 1e-6 * (abs(mean_C) + np.sqrt(variance_C))).any():
        raise ValueError("its cube is not the one that was prepared (other means of the bands)")


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error).partition("\n")[0].strip("'\"") or type(error).__name__
