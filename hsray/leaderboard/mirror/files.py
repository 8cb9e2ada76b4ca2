"""The files of a mirror's folder: written whole, checked, and removed when nothing names them any more."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from hsray.errors import HsrayError, RequestError
from hsray.leaderboard.mirror.manifest import A_COPY, NAME, File, Manifest, read_manifest

PARTS, ARTIFACTS = "parts", "artifacts"
PARTIAL = ".partial-"
OWN = {NAME, f"{NAME}.partial", "lock", PARTS, ARTIFACTS}
HOUR_S = 3600
GRACE_MS = 60_000  # for those who began to read a file before a sync replaced it
WAIT_S = 60


@contextmanager
def locked(folder: Path) -> Iterator[Manifest]:
    """The only one to write to the mirror, which is made where there is none; gives what it holds.

    Raises:
        RequestError: the folder holds something else, or another format's mirror; or another sync does not end.
        HsrayError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    made = not folder.exists()
    try:
        foreign = [] if (folder / NAME).exists() or not folder.exists() else _foreign(folder)
        if foreign:
            raise RequestError(f"this folder holds other things ({foreign[0]})", where=str(folder), do=A_COPY)
        read_manifest(folder)  # before anything is written into another format's mirror
        (folder / PARTS).mkdir(parents=True, exist_ok=True)
        with FileLock(folder / "lock", timeout=WAIT_S):
            manifest = read_manifest(folder) or Manifest()
            _clean(folder, manifest)
            try:
                yield manifest
            finally:
                if made and not (folder / NAME).exists():  # nothing came of it
                    shutil.rmtree(folder)
    except Timeout:
        raise RequestError(
            "another process has been syncing this mirror for a minute",
            where=str(folder),
            do="wait for it, or read what is there with --no-sync",
        ) from None
    except OSError as error:
        raise HsrayError(f"the mirror cannot be written: {error}", where=str(folder)) from None


def write_part(folder: Path, name: str, frame: pl.DataFrame) -> File:
    """Write a file that no manifest names yet, safe on the disk when this returns.

    Raises:
        OSError: the disk does not take it.
    """
    path = folder / PARTS / f"{name}.parquet"
    try:
        frame.write_parquet(path)
    except pl.exceptions.ComputeError as error:  # what polars makes of a full disk
        raise OSError(str(error)) from None
    with path.open("rb") as file:
        os.fsync(file.fileno())
    return File(path.name, path.stat().st_size, _sha256(path), len(frame))


def fault(folder: Path, file: File) -> str | None:
    """What is wrong with a file of the mirror."""
    path = folder / PARTS / file.name
    try:
        size = path.stat().st_size
        if size != file.bytes:
            return f"{file.name} has {size:,} of {file.bytes:,} bytes"
        if _sha256(path) != file.sha256:
            return f"{file.name} has another content than was written"
    except FileNotFoundError:
        return f"{file.name} is missing"
    except OSError as error:
        return f"{file.name} cannot be read ({error.strerror})"
    return None


def retire(manifest: Manifest, before: list[File]) -> None:
    """Note which files of a source count no more now."""
    now, named = int(time.time() * 1000), manifest.names()
    manifest.retired |= {file.name: now for file in before if file.name not in named}


def part_name(id: str, number: int, table: str) -> str:
    return f"{id}-{number:06d}-{table}"


def _clean(folder: Path, manifest: Manifest) -> None:
    """Remove what a killed sync left, and what was replaced a while ago."""
    now = int(time.time() * 1000)
    manifest.retired = {name: when for name, when in manifest.retired.items() if 0 <= now - when < GRACE_MS}
    keep = manifest.names() | manifest.retired.keys()
    for path in (folder / PARTS).iterdir():
        if path.name not in keep and re.fullmatch(r"[0-9a-f]{12}-\d{6,}-[a-z]+\.parquet", path.name):
            path.unlink()
    for path in (folder / ARTIFACTS).glob(f"{PARTIAL}*"):
        if time.time() - path.stat().st_mtime > HOUR_S:
            shutil.rmtree(path)


def _foreign(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name not in OWN)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
