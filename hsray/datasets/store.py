"""The cube store: a prepared dataset, opened at once and read through memory maps that processes of a node share."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path, PurePath
from typing import Any

import h5py
import numpy as np
from pydantic import TypeAdapter

from hsray.datasets import statistics
from hsray.datasets.broken import UNREADABLE, reading
from hsray.datasets.classes import ClassInfo
from hsray.datasets.statistics import ImageStatistics
from hsray.errors import RequestError

SPLITS = ("train", "val", "test")
FORMAT = 1
METADATA = "dataset.json"
STATISTICS = "statistics.npz"


@dataclass(frozen=True)
class Entry:
    """Where one image lies in its file. An offset of None means chunked or compressed: h5py has to read it."""

    name: str
    shape: tuple[int, int, int]
    cube_dtype: str
    cube_offset: int | None
    label_dtype: str
    label_offset: int | None


@dataclass(frozen=True)
class Metadata:
    """What `dataset.json` holds."""

    name: str
    fingerprint: str
    classes: tuple[ClassInfo, ...]
    ignore_id: int
    wavelengths_nm: tuple[float, ...]
    entries: dict[str, tuple[Entry, ...]]
    files: dict[str, str]
    left_out: tuple[dict[str, str], ...] = ()
    source: dict[str, Any] = field(default_factory=dict)
    label_map: tuple[int, ...] = ()
    """Class id of every raw label from 0 on, where the files hold raw labels; empty where they hold class ids."""

    def write(self, folder: Path) -> None:
        """Write `dataset.json`."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, separators=(",", ":"), ensure_ascii=False)
        (folder / METADATA).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Metadata:
        """Read `dataset.json`.

        Raises:
            RequestError: the file is not one of this version's.
        """
        path = folder / METADATA
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            version = content.pop("format")
            found = _METADATA.validate_python(content) if version == FORMAT else None
            fault = found._fault() if found else None
        except UNREADABLE as error:
            raise RequestError(
                "This dataset.json cannot be read", where=str(path), do="prepare the dataset again with --overwrite"
            ) from error
        if found is None:
            raise RequestError(
                f"This dataset was prepared in format {version}; this hsray reads format {FORMAT}",
                where=str(path),
                do="prepare it again with --overwrite",
            )
        if fault:
            raise RequestError(f"This dataset.json is wrong: {fault}", where=str(path), do="prepare the dataset again")
        return found

    def _fault(self) -> str | None:
        """What of it would make readers go wrong; None where all is well."""
        if [info.id for info in self.classes] != list(range(len(self.classes))):
            return "class ids do not run from 0 on"
        if not 0 <= self.ignore_id < len(self.classes):
            return f"the ignored id {self.ignore_id} is no class"
        if set(self.entries) != set(SPLITS) or set(self.files) != set(SPLITS):
            return f"it does not speak of the splits {', '.join(SPLITS)}"
        if outside := [name for name in self.files.values() if PurePath(name).name != name]:
            return f"the file {outside[0]!r} does not lie beside it"
        for entry in (entry for entries in self.entries.values() for entry in entries):
            kinds = np.dtype(entry.cube_dtype).kind + np.dtype(entry.label_dtype).kind
            if min(entry.shape) < 1 or entry.shape[2] != len(self.wavelengths_nm) or not set(kinds) <= set("iuf"):
                return f"image {entry.name!r} has the shape {entry.shape}, {entry.cube_dtype}, {entry.label_dtype}"
            if min(entry.cube_offset or 0, entry.label_offset or 0) < 0:
                return f"image {entry.name!r} has a negative offset"
        return None


_METADATA = TypeAdapter(Metadata)


class CubeStore:
    """Images of a dataset in three splits, with labels, classes, wavelengths and statistics.

    `path` holds the HDF5 files; the index lies beside them, or in the cache for files that hsray did not write.
    Open it with `open_store`. It may be pickled and is then opened anew by whoever receives it.
    """

    def __init__(self, path: Path, index: Path | None = None) -> None:
        self.path = path
        self._index = index or path
        self._metadata = Metadata.read(self._index)
        self._entries = {
            split: {entry.name: entry for entry in entries} for split, entries in self._metadata.entries.items()
        }
        self._maps: dict[str, np.memmap] = {}
        self._statistics: dict[str, ImageStatistics] = {}
        self.wavelengths_nm = np.asarray(self._metadata.wavelengths_nm, dtype=np.float64)

    def __reduce__(self) -> tuple[Any, ...]:
        return CubeStore, (self.path, self._index)

    def __repr__(self) -> str:
        return f"CubeStore({self.name!r}, {str(self.path)!r})"

    @property
    def name(self) -> str:
        """The dataset's name."""
        return self._metadata.name

    @property
    def fingerprint(self) -> str:
        """Hash of all cubes, labels, classes, wavelengths and splits, in hexadecimal."""
        return self._metadata.fingerprint

    @property
    def classes(self) -> tuple[ClassInfo, ...]:
        """The classes by id, the undefined one among them."""
        return self._metadata.classes

    @property
    def ignore_id(self) -> int:
        """The id of the undefined class: its pixels count neither in losses nor in scores."""
        return self._metadata.ignore_id

    @property
    def left_out(self) -> tuple[dict[str, str], ...]:
        """Classes of the raw data that were left out: their `name` and the `reason`."""
        return self._metadata.left_out

    @property
    def source(self) -> dict[str, Any]:
        """Where the dataset comes from and how it was made."""
        return self._metadata.source

    @property
    def num_classes(self) -> int:
        """Number of classes, the undefined one counted."""
        return len(self.classes)

    @property
    def bands(self) -> int:
        """Number of bands."""
        return len(self.wavelengths_nm)

    @property
    def cube_dtype(self) -> np.dtype:
        """In what the cubes are stored; float32 where there are none."""
        return np.dtype(next((e.cube_dtype for found in self._entries.values() for e in found.values()), "<f4"))

    def images(self, split: str) -> list[str]:
        """Names of a split's images, sorted."""
        return list(self._split(split))

    def shape_HWC(self, split: str, image: str) -> tuple[int, int, int]:
        """Shape of an image, without reading it."""
        return self._entry(split, image).shape

    def cube_HWC(self, split: str, image: str) -> np.ndarray:
        """One cube: a read-only memory map where the file allows it, an array in memory otherwise."""
        entry = self._entry(split, image)
        return self._array(split, image, "image", entry.cube_dtype, entry.cube_offset, entry.shape)

    def labels_HW(self, split: str, image: str) -> np.ndarray:
        """The class id of every pixel of an image; `ignore_id` where there is no label."""
        entry = self._entry(split, image)
        return self.class_ids(
            self._array(split, image, "labels", entry.label_dtype, entry.label_offset, entry.shape[:2])
        )

    def class_ids(self, labels_HW: np.ndarray) -> np.ndarray:
        """Class ids from labels as the files hold them, which published files keep raw."""
        if not np.issubdtype(labels_HW.dtype, np.integer):
            labels_HW = labels_HW.astype(np.int64)
        return np.asarray(self._metadata.label_map)[labels_HW] if self._metadata.label_map else labels_HW

    def entries(self, split: str) -> list[Entry]:
        """Where a split's images lie in its file, in the order of `images`."""
        return list(self._split(split).values())

    def file(self, split: str) -> Path:
        """The HDF5 file of a split."""
        self._split(split)
        return self.path / self._metadata.files[split]

    def statistics(self, split: str) -> ImageStatistics:
        """Statistics of a split's images, in the order of `images`."""
        self._split(split)
        if split not in self._statistics:
            self._statistics[split] = statistics.load(self._index / STATISTICS, split)
        return self._statistics[split]

    def _array(
        self, split: str, image: str, key: str, dtype: str, offset: int | None, shape: Iterable[int]
    ) -> np.ndarray:
        file = self.path / self._metadata.files[split]
        if offset is None:
            # Opened anew each time: an open HDF5 handle must not travel into a forked data loader.
            with reading(file), h5py.File(file, "r") as handle:
                return handle[image][key][()].reshape(tuple(shape))
        if split not in self._maps:
            try:
                self._maps[split] = np.memmap(file, dtype=np.uint8, mode="r")
            except (OSError, ValueError) as error:
                raise _broken(file) from error
        try:
            return np.ndarray(tuple(shape), np.dtype(dtype), buffer=self._maps[split], offset=offset)
        except (TypeError, ValueError) as error:  # the file ends before the image does
            raise _broken(file) from error

    def _split(self, split: str) -> dict[str, Entry]:
        if split not in self._entries:
            raise RequestError(
                f"There is no split {split!r}",
                where=f"dataset {self.name}",
                do=f"use one of {', '.join(self._entries)}",
            )
        return self._entries[split]

    def _entry(self, split: str, image: str) -> Entry:
        entries = self._split(split)
        if image not in entries:
            raise RequestError(f"There is no image {image!r}", where=f"dataset {self.name}, split {split}")
        return entries[image]


def _broken(file: Path) -> RequestError:
    return RequestError(
        "A file of this dataset is missing or truncated",
        where=str(file),
        do="prepare the dataset again with --overwrite",
    )
