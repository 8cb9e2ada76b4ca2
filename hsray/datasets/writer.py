"""Writing a cube store, image by image, so that a preparation that was killed goes on where it was."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from hsray.datasets import statistics
from hsray.datasets.classes import ClassInfo
from hsray.datasets.store import STATISTICS, Entry, Metadata
from hsray.errors import HsrayError, RequestError

ALIGNMENT = 64  # bytes; arrays start at multiples, so that memory maps of any dtype are aligned
PLAN = "plan.json"


@dataclass(frozen=True)
class Plan:
    """All that is known of a store before its first image is written. Only a partial store of the same plan goes on."""

    name: str
    classes: tuple[ClassInfo, ...]
    ignore_id: int
    wavelengths_nm: tuple[float, ...]
    splits: dict[str, list[str]]
    left_out: tuple[dict[str, str], ...]
    source: dict[str, Any]
    one_pixel_images: bool = False


class StoreWriter:
    """Writes `<folder>.partial` and renames it to `folder` when all images of the plan are in.

    After each image, in this order: its statistics are appended, its file flushed, its line written to the split's
    journal. Only what the journal names counts when a preparation goes on.
    """

    def __init__(self, folder: Path, plan: Plan, *, overwrite: bool = False) -> None:
        self.folder = folder
        self._overwrite = overwrite
        self.partial = folder.with_name(folder.name + ".partial")
        self.plan = plan
        self._dtype = statistics.record_dtype(
            len(plan.wavelengths_nm), len(plan.classes), covariance=not plan.one_pixel_images
        )
        self._files: dict[str, h5py.File] = {}
        self.partial.mkdir(parents=True, exist_ok=True)
        self._lock: int | None = _locked(self.partial)
        text = json.dumps(asdict(plan), sort_keys=True)
        kept = self.partial / PLAN
        if not kept.is_file() or kept.read_text(encoding="utf-8") != text:
            for path in self.partial.iterdir():
                path.unlink()
            kept.write_text(text, encoding="utf-8")
        self._journals = {split: self._resume(split) for split in plan.splits}

    def todo(self, split: str) -> list[str]:
        """Images of the split that are not in the store yet, sorted."""
        done = {line["name"] for line in self._journals[split]}
        return [image for image in sorted(self.plan.splits[split]) if image not in done]

    def write(self, split: str, image: str, cube_HWC: np.ndarray, labels_HW: np.ndarray) -> None:
        """Add an image; labels are class ids of the plan. The images of a split come in the order of `todo`."""
        cube_HWC = np.ascontiguousarray(cube_HWC).astype(cube_HWC.dtype.newbyteorder("<"), copy=False)
        labels_HW = np.ascontiguousarray(labels_HW, dtype="<u1" if len(self.plan.classes) <= 256 else "<u2")
        with self._records(split).open("ab") as file:
            statistics.measure(cube_HWC, labels_HW, self._dtype).tofile(file)
        handle = self._open(split)
        group = handle.create_group(image)
        cube, labels = (group.create_dataset(key, data=a) for key, a in (("image", cube_HWC), ("labels", labels_HW)))
        handle.flush()
        entry = Entry(
            name=image,
            shape=cube_HWC.shape,
            cube_dtype=cube_HWC.dtype.str,
            cube_offset=cube.id.get_offset(),
            label_dtype=labels_HW.dtype.str,
            label_offset=labels.id.get_offset(),
        )
        self._note(split, {**asdict(entry), "hash": content_hash(cube_HWC, labels_HW)})

    def skip(self, split: str, image: str) -> None:
        """Leave an image of the plan out for good."""
        self._note(split, {"name": image, "skipped": True})

    def finish(self) -> None:
        """Write statistics and `dataset.json`, bring all to disk, and rename the folder."""
        lines = {split: [line for line in journal if "hash" in line] for split, journal in self._journals.items()}
        self._close_files()
        records = {split: np.fromfile(self._records(split), self._dtype) for split in lines}
        if any(len(records[split]) != len(lines[split]) for split in lines):
            raise HsrayError(
                "Statistics and images do not agree", where=str(self.partial), do="delete it, prepare anew"
            )
        statistics.save(self.partial / STATISTICS, records)
        hashes = {split: {line["name"]: line.pop("hash") for line in part} for split, part in lines.items()}
        Metadata(
            name=self.plan.name,
            fingerprint=fingerprint(self.plan.classes, self.plan.ignore_id, self.plan.wavelengths_nm, hashes),
            classes=self.plan.classes,
            ignore_id=self.plan.ignore_id,
            wavelengths_nm=self.plan.wavelengths_nm,
            entries={split: tuple(Entry(**line) for line in part) for split, part in lines.items()},
            files={split: self._file(split).name for split in lines},
            left_out=self.plan.left_out,
            source=self.plan.source,
        ).write(self.partial)
        for split in self.plan.splits:
            self._records(split).unlink()
            self._journal(split).unlink()
        (self.partial / PLAN).unlink()
        for path in [*self.partial.iterdir(), self.partial]:
            _sync(path)
        old = self.folder.with_name(self.folder.name + ".old")
        if self._overwrite and self.folder.exists():
            os.replace(self.folder, old)
        os.replace(self.partial, self.folder)
        _sync(self.folder.parent)
        if old.exists():
            shutil.rmtree(old)

    def close(self) -> None:
        """Close the files; what is written stays, to go on from."""
        self._close_files()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def discard(self) -> None:
        """Delete what was written."""
        self._close_files()
        shutil.rmtree(self.partial)
        self.close()

    def _close_files(self) -> None:
        for handle in self._files.values():
            handle.close()
        self._files.clear()

    def _open(self, split: str) -> h5py.File:
        if split not in self._files:
            self._files[split] = h5py.File(
                self._file(split), "a", alignment_threshold=ALIGNMENT, alignment_interval=ALIGNMENT
            )
        return self._files[split]

    def _file(self, split: str) -> Path:
        return self.partial / f"{self.plan.name}_{split}.h5"

    def _records(self, split: str) -> Path:
        return self.partial / f"{split}.statistics"

    def _journal(self, split: str) -> Path:
        return self.partial / f"{split}.journal"

    def _note(self, split: str, line: dict[str, Any]) -> None:
        self._journals[split].append(line)
        with self._journal(split).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")

    def _resume(self, split: str) -> list[dict[str, Any]]:
        """Bring journal, statistics and images of a split back to one state, and return the journal."""
        journal = _whole_lines(self._journal(split))
        if any("hash" in line for line in journal) and not self._holds(split, journal):
            journal = []  # killed in the middle of a flush: this split starts again
        if not journal:
            self._file(split).unlink(missing_ok=True)
        self._journal(split).write_text("".join(json.dumps(line) + "\n" for line in journal), encoding="utf-8")
        with self._records(split).open("ab") as file:
            file.truncate(self._dtype.itemsize * sum("hash" in line for line in journal))
        return journal

    def _holds(self, split: str, journal: list[dict[str, Any]]) -> bool:
        """Whether the file opens and has each noted image where the journal says; drop what it has beyond that."""
        noted = {line["name"]: line for line in journal if "hash" in line}
        try:
            handle = self._open(split)
            for image in set(handle) - set(noted):
                del handle[image]
            return all(
                handle[image]["image"].id.get_offset() == line["cube_offset"]
                and handle[image]["labels"].id.get_offset() == line["label_offset"]
                for image, line in noted.items()
            )
        except (OSError, KeyError, RuntimeError, ValueError):
            self._close_files()
            return False


def content_hash(cube_HWC: np.ndarray, labels_HW: np.ndarray) -> str:
    """Hash of one image's values, whatever the integer type of its labels."""
    digest = hashlib.blake2b(digest_size=16)
    digest.update(f"{cube_HWC.shape} {cube_HWC.dtype.str}".encode())
    digest.update(np.ascontiguousarray(cube_HWC).data)
    digest.update(np.ascontiguousarray(labels_HW, dtype="<u2").data)
    return digest.hexdigest()


def fingerprint(
    classes: tuple[ClassInfo, ...],
    ignore_id: int,
    wavelengths_nm: tuple[float, ...],
    hashes: dict[str, dict[str, str]],
) -> str:
    """Hash of a whole dataset. The name it goes by does not count."""
    content = [[asdict(info) for info in classes], ignore_id, list(wavelengths_nm), hashes]
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=16).hexdigest()


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """Lines of a journal up to the first torn one."""
    lines: list[dict[str, Any]] = []
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
            if not line.endswith("\n"):
                break
            lines.append(json.loads(line))
    return lines


def _locked(folder: Path) -> int:
    """Hold a lock on the folder for as long as this process writes it; the kernel lets go when the process ends."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise RequestError("Another process is writing this dataset", where=str(folder), do="wait for it") from error
    return handle


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
