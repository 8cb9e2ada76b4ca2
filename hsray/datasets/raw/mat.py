"""MATLAB files, of version 5 (scipy) and 7.3 (HDF5)."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import h5py
import numpy as np
import scipy.io
from scipy.io.matlab import MatReadError

from hsray.errors import RequestError

BROKEN = (OSError, ValueError, TypeError, KeyError, IndexError, EOFError, zlib.error, struct.error, MatReadError)


def variables(path: Path) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a file's arrays, read from its headers.

    Raises:
        RequestError: the file is truncated or no MATLAB file.
    """
    if h5py.is_hdf5(path):
        with _open73(path) as file:
            return {key: value.shape[::-1] for key, value in file.items() if isinstance(value, h5py.Dataset)}
    _check_length(path)
    try:
        return {name: shape for name, shape, _ in scipy.io.whosmat(path)}
    except BROKEN as error:
        raise broken(path, error) from error


def load(path: Path, key: str | None = None) -> np.ndarray:
    """Read an array; without a key, the only one of two dimensions or more.

    Raises:
        RequestError: the file is truncated, lacks the key, or no key is given and several arrays could be meant.
    """
    found = variables(path)
    if key is None:
        arrays = [name for name, shape in found.items() if len(shape) >= 2 and max(shape) > 1]
        if len(arrays) != 1:
            raise RequestError(
                f"This file holds {len(arrays)} arrays ({', '.join(arrays)})", where=str(path), do="name one by its key"
            )
        key = arrays[0]
    if key not in found:
        raise RequestError(
            f"This file lacks the key {key!r}; it has {', '.join(map(repr, found)) or 'none'}", where=str(path)
        )
    try:
        if h5py.is_hdf5(path):
            with _open73(path) as file:
                return np.asarray(file[key]).T
        return np.asarray(scipy.io.loadmat(path, variable_names=[key])[key])
    except BROKEN as error:
        raise broken(path, error) from error


def broken(path: Path, error: Exception) -> RequestError:
    """Return the error for a file that cannot be read."""
    return RequestError(f"This file is truncated or broken ({error})", where=str(path), do="get it anew")


def _open73(path: Path) -> h5py.File:
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise broken(path, error) from error


def _check_length(path: Path) -> None:
    """Walk the top-level elements of a version-5 file: a truncated one ends inside an element."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(128)
        if len(header) < 128 or header[126:128] not in (b"IM", b"MI"):
            if size < 128:
                raise broken(path, EOFError(f"{size} bytes"))
            return  # version 4: scipy finds out
        order, position = ("<" if header[126:128] == b"IM" else ">"), 128
        while position < size:
            file.seek(position)
            tag = file.read(8)
            if len(tag) < 8:
                raise broken(path, EOFError("it ends inside an element"))
            position += 8 + struct.unpack(order + "II", tag)[1]
        if position > size:
            raise broken(path, EOFError(f"{size} bytes of at least {position}"))
