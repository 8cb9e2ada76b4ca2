"""HDF5 files as the authors of HS3-Bench publish them: the store's layout without `dataset.json`, read as they are."""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np

from hsray.datasets import catalog, statistics
from hsray.datasets.store import METADATA, SPLITS, STATISTICS, Entry, Metadata
from hsray.datasets.writer import content_hash, fingerprint
from hsray.errors import RequestError

NOT_AN_IMAGE = "metadata"


def index(folder: Path, progress: Callable[[str, int, int], None] | None = None) -> Path:
    """Return the folder that holds index and statistics of published files, making it when they are first opened.

    The first time reads all data once; what is learned is kept in `HSRAY_CACHE` (default `~/.cache/hsray`) for as long
    as the files keep their place, size and time. `progress` is called with split, images done and images in all.

    Raises:
        RequestError: a split's file is missing or broken, the catalogue does not know the dataset, or files and
            catalogue do not agree.
    """
    name, files = _files(folder)
    known = catalog.find(name)
    state = [(str(path), path.stat().st_size, path.stat().st_mtime_ns) for path in files.values()]
    key = hashlib.blake2b(json.dumps([state, known.name]).encode(), digest_size=12).hexdigest()
    cache = Path(os.environ.get("HSRAY_CACHE", Path.home() / ".cache" / "hsray")) / "stores" / f"{known.name}-{key}"
    if (cache / METADATA).is_file():
        return cache
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as scratch:
        _index(files, known, Path(scratch), progress)
        Path(scratch, STATISTICS).replace(_made(cache) / STATISTICS)
        Path(scratch, METADATA).replace(cache / METADATA)
    return cache


def _made(folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    return folder


def _files(folder: Path) -> tuple[str, dict[str, Path]]:
    names = sorted(path.name.removesuffix("_train.h5") for path in folder.glob("*_train.h5"))
    if len(names) > 1:
        raise RequestError(
            f"This folder holds several datasets ({', '.join(names)})", where=str(folder), do="keep one in a folder"
        )
    files = {split: folder / f"{names[0]}_{split}.h5" for split in SPLITS}
    missing = [path.name for path in files.values() if not path.is_file()]
    if missing:
        raise RequestError(f"Files are missing: {', '.join(missing)}", where=str(folder))
    return names[0], files


def _index(
    files: dict[str, Path],
    known: catalog.CatalogEntry,
    target: Path,
    progress: Callable[[str, int, int], None] | None,
) -> None:
    entries: dict[str, tuple[Entry, ...]] = {}
    records: dict[str, np.ndarray] = {}
    hashes: dict[str, dict[str, str]] = {}
    dtype = statistics.record_dtype(len(known.wavelengths_nm), len(known.classes))
    label_map = _label_map(files, known)
    for split, path in files.items():
        found, measured, hashes[split] = [], [np.zeros(0, dtype)], {}
        for entry, cube_HWC, labels_HW, total in _images(path):
            _check(cube_HWC, known, f"{path}, image {entry.name}")
            labels_HW = labels_HW.astype(np.int64)
            labels_HW = np.asarray(label_map)[labels_HW] if label_map else labels_HW
            found.append(entry)
            measured.append(statistics.measure(cube_HWC, labels_HW, dtype))
            hashes[split][entry.name] = content_hash(cube_HWC, labels_HW)
            if progress:
                progress(split, len(found), total)
        entries[split], records[split] = tuple(found), np.concatenate(measured)
    statistics.save(target / STATISTICS, records)
    Metadata(
        name=known.name,
        fingerprint=fingerprint(known.classes, known.ignore_id, known.wavelengths_nm, hashes),
        classes=known.classes,
        ignore_id=known.ignore_id,
        wavelengths_nm=known.wavelengths_nm,
        entries=entries,
        files={split: path.name for split, path in files.items()},
        source={"kind": "published", "catalog": known.name},
        label_map=label_map,
    ).write(target)


def _label_map(files: dict[str, Path], known: catalog.CatalogEntry) -> tuple[int, ...]:
    """Tell raw labels from class ids. The authors' code maps some raw labels only when it loads them.

    Read all labels first: one image alone may hold only ids that mean something either way.
    """
    where_first: dict[int, str] = {}
    for path in files.values():
        for name, labels in _labels(path):
            for label in np.unique(labels):
                where_first.setdefault(int(label), f"{path}, image {name}")
    ids = {info.id for info in known.classes}
    if set(where_first) <= ids:
        return ()
    raw = ids | set(known.remap)
    wrong = sorted(set(where_first) - raw)
    if wrong:
        raise RequestError(
            f"The labels hold the id {wrong[0]}; {known.name} has the classes 0 to {max(ids)}",
            where=where_first[wrong[0]],
        )
    return tuple(known.remap.get(label, label) for label in range(max(raw) + 1))


def _labels(path: Path) -> Iterator[tuple[str, np.ndarray]]:
    with _readable(path), h5py.File(path, "r") as handle:
        for name in handle:
            if name != NOT_AN_IMAGE:
                yield name, handle[name]["labels"][()]


def _images(path: Path) -> Iterator[tuple[Entry, np.ndarray, np.ndarray, int]]:
    with _readable(path), h5py.File(path, "r") as handle:
        names = sorted(name for name in handle if name != NOT_AN_IMAGE)
        for name in names:
            cube, labels = handle[name]["image"], handle[name]["labels"]
            if cube.ndim != 3 or labels.size != cube.shape[0] * cube.shape[1]:
                raise RequestError(
                    f"The labels have shape {labels.shape}, the cube {cube.shape}", where=f"{path}, image {name}"
                )
            offsets = cube.id.get_offset(), labels.id.get_offset()
            entry = Entry(name, cube.shape, cube.dtype.str, offsets[0], labels.dtype.str, offsets[1])
            yield entry, cube[()], labels[()].reshape(cube.shape[:2]), len(names)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    try:
        yield
    except KeyError as error:
        raise RequestError("An image lacks `image` or `labels`", where=str(path)) from error
    except OSError as error:
        raise RequestError(
            f"This HDF5 file cannot be read ({error})", where=str(path), do="get it anew; it may be truncated"
        ) from error


def _check(cube_HWC: np.ndarray, known: catalog.CatalogEntry, where: str) -> None:
    if cube_HWC.shape[2] != len(known.wavelengths_nm):
        raise RequestError(
            f"The cube has {cube_HWC.shape[2]} bands; {known.name} has {len(known.wavelengths_nm)} wavelengths",
            where=where,
        )
    if np.issubdtype(cube_HWC.dtype, np.floating) and not (finite := np.isfinite(cube_HWC)).all():
        raise RequestError(
            f"The cube has {int((~finite).sum())} values that are NaN or infinite",
            where=where,
            do="prepare the raw data with `hsray prepare --nan zero`, or mend the file",
        )
