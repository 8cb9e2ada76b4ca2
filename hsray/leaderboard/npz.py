"""The arrays of an npz file that somebody else may have written, or a crash cut off."""

from __future__ import annotations

import lzma
import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

# What numpy, zipfile and the unpackers underneath raise on a file that is cut off, damaged or made up.
_DAMAGED = (
    OSError, ValueError, KeyError, EOFError, MemoryError, RuntimeError, SyntaxError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, tokenize.TokenError,
)  # fmt: skip


class UnreadableError(Exception):
    """Why a file is not taken, in words."""


def read_arrays(path: Path, names: tuple[str, ...], most_bytes: int) -> dict[str, NDArray]:
    """The arrays of these names; nothing in the file is executed, and no more than `most_bytes` are unpacked.

    Raises:
        UnreadableError: the file cannot be read, would unpack to more, or lacks an array.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > most_bytes:
            raise UnreadableError(f"it would unpack to {unpacked / 2**30:.1f} GiB")
        with np.load(path, allow_pickle=False) as content:
            if missing := set(names) - set(content.files):
                raise UnreadableError(f"it lacks {', '.join(sorted(missing))}")
            parts = {name: content[name] for name in names}
    except _DAMAGED as error:
        raise UnreadableError(str(error).splitlines()[0] if str(error) else type(error).__name__) from None
    if odd := [name for name, part in parts.items() if not isinstance(part, np.ndarray)]:
        raise UnreadableError(f"{', '.join(odd)} is no array")
    return parts
