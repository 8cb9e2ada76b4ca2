"""Label maps as PNG files."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
from PIL import Image

from hsray.datasets.broken import reading
from hsray.errors import RequestError

SIGNATURE = b"\x89PNG\r\n\x1a\n"


def size_HW(path: Path) -> tuple[int, int]:
    """Return height and width without decoding the image.

    Raises:
        RequestError: the file is truncated or no PNG.
    """
    with reading(path):
        _check_chunks(path)
        with Image.open(path) as image:
            width, height = image.size
    return height, width


def load(path: Path) -> np.ndarray:
    """Read a label map (H, W).

    Raises:
        RequestError: the file is truncated, or has colours instead of ids.
    """
    with reading(path):
        _check_chunks(path)
        with Image.open(path) as image:
            labels = np.asarray(image)
    if labels.ndim != 2:
        raise RequestError(
            f"This label map has {labels.shape[-1]} channels; one is needed, of class ids", where=str(path)
        )
    return labels


def _check_chunks(path: Path) -> None:
    """Walk the chunks to the last one. Raises ValueError or EOFError where they do not fit the file."""
    size = path.stat().st_size
    with path.open("rb") as file:
        if file.read(len(SIGNATURE)) != SIGNATURE:
            raise ValueError("it is no PNG file")
        kind = b""
        while kind != b"IEND":
            head = file.read(8)
            if len(head) < 8:
                raise EOFError("its last part is missing")
            length, kind = struct.unpack(">I4s", head)
            if file.seek(length + 4, 1) > size:
                raise EOFError("it ends inside a chunk")
