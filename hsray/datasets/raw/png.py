"""Label maps as PNG files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, UnidentifiedImageError

from hsray.datasets.raw.mat import broken
from hsray.errors import RequestError

END = b"IEND\xaeB`\x82"  # the last chunk with its checksum


def size_HW(path: Path) -> tuple[int, int]:
    """Return height and width without decoding the image.

    Raises:
        RequestError: the file is truncated or no PNG.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, UnidentifiedImageError) as error:
        raise broken(path, error) from error
    if END not in path.read_bytes()[-64:]:
        raise broken(path, EOFError("its last part is missing"))
    return height, width


def load(path: Path) -> np.ndarray:
    """Read a label map (H, W).

    Raises:
        RequestError: the file is truncated, or has colours instead of ids.
    """
    try:
        with Image.open(path) as image:
            labels = np.asarray(image)
    except (OSError, SyntaxError, UnidentifiedImageError) as error:
        raise broken(path, error) from error
    if labels.ndim != 2:
        raise RequestError(
            f"This label map has {labels.shape[-1]} channels; one is needed, of class ids", where=str(path)
        )
    return labels
