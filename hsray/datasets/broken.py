"""What reading a broken file may raise, in the libraries that read it, and what a user is told instead."""

from __future__ import annotations

import math
import struct
import tokenize
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.lib import format as npy
from numpy.lib.npyio import NpzFile
from PIL.Image import DecompressionBombError
from scipy.io.matlab import MatReadError

from hsray.errors import RequestError

UNREADABLE = (
    OSError, ValueError, TypeError, LookupError, EOFError, RuntimeError, SyntaxError, ArithmeticError, AttributeError,
    AssertionError, MemoryError, MatReadError, struct.error, zlib.error, zipfile.BadZipFile, tokenize.TokenError,
    DecompressionBombError,
)  # fmt: skip


def broken(path: Path, error: Exception) -> RequestError:
    """The error for a file that cannot be read."""
    told = str(error).strip().splitlines()
    why = told[0][:200] if told else type(error).__name__
    return RequestError(f"This file is truncated or broken ({why})", where=str(path), do="get it anew")


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """Within it, whatever a broken file makes a library raise is a RequestError that names the file."""
    try:
        yield
    except UNREADABLE as error:
        raise broken(path, error) from error


@contextmanager
def open_npz(path: Path) -> Iterator[NpzFile]:
    """The arrays of an npz file, none of which is larger than its part of the file can hold. For use in `reading`."""
    # Deflate packs at most about a thousand to one.
    most = 1100 * path.stat().st_size
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            with archive.open(info) as file:
                version = npy.read_magic(file)
                header = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
                shape, _, dtype = header(file)
            if math.prod(shape) * dtype.itemsize > min(info.file_size, most):
                raise ValueError(f"{info.filename} speaks of more than the file holds")
    with np.load(path, allow_pickle=False) as arrays:
        yield arrays
