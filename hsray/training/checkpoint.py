"""A checkpoint of a run: enough to go on as if nothing had happened. Tensors only, never pickled objects.

`last.pt` is a zip archive, as torch writes it, with a checksum for every part; the one before it stays beside it as
`previous.pt`, should the newest one not be whole. `format` is the version of what the file says; files without one are
the first version's, saved between epochs, and are read.
"""

from __future__ import annotations

import errno
import os
import pickle
import re
import zipfile
import zlib
from pathlib import Path
from typing import Any, BinaryIO

import torch

from hsray.errors import HsrayError, MachineFault, RequestError
from hsray.runlog import replacing

NAME, PREVIOUS = "last.pt", "previous.pt"
FORMAT = 2
_BROKEN = (
    zipfile.BadZipFile, zlib.error, pickle.UnpicklingError, RuntimeError, NotImplementedError, EOFError, ValueError,
    LookupError, TypeError, AttributeError, AssertionError, ArithmeticError, MemoryError, ImportError,
)  # fmt: skip


class Untrusted(HsrayError):
    """The checkpoint is damaged, or not this run's."""


def seconds_between() -> float | None:
    """How often a run saves itself, as HSRAY_CHECKPOINT_SECONDS says; None where it says nothing.

    Raises:
        RequestError: it is no such number.
    """
    text = os.environ.get("HSRAY_CHECKPOINT_SECONDS")
    if text is None:
        return None
    if not re.fullmatch(r"\d+(\.\d*)?", text):
        what = f"'{text}' is not a number of seconds between two checkpoints"
        raise RequestError(what, where="HSRAY_CHECKPOINT_SECONDS", do="set it to one such as 15, or unset it")
    return float(text)


def save(folder: Path, content: dict[str, Any]) -> None:
    """Make this the folder's checkpoint, and the one that was it the previous one.

    Raises:
        MachineFault: it cannot be written; what was there stays.
    """
    last = folder / NAME
    with replacing(last) as file:
        told = _Told(file)
        try:
            torch.save({**content, "format": FORMAT}, told)  # type: ignore[arg-type]
        except RuntimeError:
            if told.error is not None:
                raise told.error from None
            raise
        file.flush()
        os.fsync(file.fileno())  # the new one is whole before the old one moves
        if last.exists():
            last.replace(folder / PREVIOUS)


def candidates(folder: Path) -> list[Path]:
    """The checkpoints that there are, the newest first."""
    return [path for path in (folder / NAME, folder / PREVIOUS) if path.exists()]


def read(path: Path) -> dict[str, Any]:
    """The content of one checkpoint, tensors on the CPU.

    Raises:
        Untrusted: it is damaged or no checkpoint.
        MachineFault: it cannot be read, or a newer hsray wrote it.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
        content = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        if error.errno == errno.EINVAL:  # the archive points to places that a file cannot have
            raise Untrusted("it is damaged (it points outside itself)") from None
        raise MachineFault(f"cannot read {path.name}: {error.strerror or error}", where=str(path)) from error
    except _BROKEN as error:
        raise Untrusted(f"it is damaged ({type(error).__name__})") from None
    if content is None:
        raise Untrusted("it is damaged (a checksum differs)")
    if not isinstance(content, dict) or not {"model", "optimiser", "progress"} <= content.keys():
        raise Untrusted("it is no checkpoint of a run")
    version = content.get("format", 1)
    if not isinstance(version, int) or version > FORMAT:
        raise MachineFault(
            f"a newer hsray wrote this checkpoint (format {version}; this one knows up to {FORMAT})",
            where=str(path),
            do="go on with that version, or delete the file: the run then starts again",
        )
    return content


def remove(folder: Path) -> None:
    """A run that has ended needs no checkpoint."""
    for name in (NAME, PREVIOUS):
        (folder / name).unlink(missing_ok=True)


class _Told:
    """A file that remembers why it could not be written: torch's writer says only that it could not."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.error: OSError | None = None

    def write(self, content: bytes) -> int:
        try:
            return self.file.write(content)
        except OSError as error:
            self.error = error
            raise

    def flush(self) -> None:
        self.file.flush()
