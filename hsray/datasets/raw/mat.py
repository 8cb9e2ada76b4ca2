"""MATLAB files, of versions 4 and 5 (scipy) and 7.3 (HDF5)."""

from __future__ import annotations

import struct
from pathlib import Path

import h5py
import numpy as np
import scipy.io

from hsray.datasets.broken import broken, reading
from hsray.errors import RequestError

WIDTHS_4 = (8, 4, 4, 2, 2, 1)  # bytes of a number by its precision, in version 4


def variables(path: Path) -> dict[str, tuple[int, ...]]:
    """Return names and shapes of a file's arrays, read from its headers.

    Raises:
        RequestError: the file is truncated or no MATLAB file.
    """
    with reading(path):
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return {key: value.shape[::-1] for key, value in file.items() if isinstance(value, h5py.Dataset)}
        _check_length(path)
        return {name: shape for name, shape, _ in scipy.io.whosmat(path)}


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
    with reading(path):
        if h5py.is_hdf5(path):
            with h5py.File(path, "r") as file:
                return np.asarray(file[key]).T
        return np.asarray(scipy.io.loadmat(path, variable_names=[key])[key])


def _check_length(path: Path) -> None:
    """Walk the top-level elements: a truncated file ends inside one, and a broken one speaks of more than it holds."""
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(128)
        five = len(header) == 128 and 0 not in header[:4]  # a text; version 4 begins with a small number
        if five and header[126:128] not in (b"IM", b"MI"):
            raise ValueError("it is no MATLAB file")
        order = ">" if header[126:128] == b"MI" else "<"
        position = 128 if five else 0
        while position < size:
            file.seek(position)
            tag = file.read(8 if five else 20)
            if len(tag) < (8 if five else 20):
                raise broken(path, EOFError("it ends inside an element"))
            position += 8 + struct.unpack(order + "II", tag)[1] if five else _length_4(tag)
        if position > size or not size:
            raise broken(path, EOFError(f"{size} bytes of at least {max(position, 20)}"))


def _length_4(header: bytes) -> int:
    """Bytes of a variable of a version-4 file, its header included. Raises ValueError where it is none."""
    for order, machine in (("<", 0), (">", 1)):
        kind, rows, columns, imaginary, name = struct.unpack(f"{order}5i", header)
        thousands, precision = kind // 1000, kind // 10 % 10
        whole = min(rows, columns) >= 0 and 0 < name <= 256 and imaginary in (0, 1)
        if whole and thousands == machine and precision < len(WIDTHS_4):
            return 20 + name + rows * columns * WIDTHS_4[precision] * (1 + imaginary)
    raise ValueError("it is no MATLAB file")
