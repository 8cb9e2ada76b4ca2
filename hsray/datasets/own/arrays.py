"""Reading a cube or a label map from .npy, .mat, ENVI or .png."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from spectral.io import envi
from spectral.io.spyfile import SpyFile

from hsray.datasets.broken import UNREADABLE, broken, reading
from hsray.datasets.raw import mat, png
from hsray.errors import RequestError

NM_PER_UNIT = {"nanometers": 1.0, "nanometer": 1.0, "nm": 1.0, "micrometers": 1e3, "micrometer": 1e3, "um": 1e3}
FORMATS = ".npy, .mat, ENVI (.hdr), .png"


def read_array(path: Path, key: str | None = None) -> np.ndarray:
    """Read an array. ENVI images come as (H, W, C), or (H, W) with one band; others as they are stored.

    Raises:
        RequestError: the file is missing, truncated, of an unknown kind, or lacks the key.
    """
    if not path.is_file():
        raise RequestError("A raw file is missing", where=str(path), do="mend the path in the description")
    match path.suffix.lower():
        case ".mat":
            return mat.load(path, key)
        case ".png":
            return png.load(path)
        case ".npy":
            with reading(path):
                return np.load(path, mmap_mode="r", allow_pickle=False)
        case ".hdr":
            return _read_envi(path)
    raise RequestError(f"hsray does not read {path.suffix or 'such'} files", where=str(path), do=f"use {FORMATS}")


def read_cube(path: Path, key: str | None, layout: str) -> np.ndarray:
    """Read a cube and turn it to (H, W, C). ENVI headers say themselves how the cube lies.

    Raises:
        RequestError: as `read_array`, or the array has not three dimensions.
    """
    cube = read_array(path, key)
    if cube.ndim != 3:
        raise RequestError(f"The cube has {cube.ndim} dimensions; three are needed (H, W, C)", where=str(path))
    return np.moveaxis(cube, 0, -1) if layout == "CHW" and path.suffix.lower() != ".hdr" else cube


def found_wavelengths(path: Path) -> tuple[float, ...] | None:
    """Return the band centres in nm that an ENVI header holds; None where there are none.

    Raises:
        RequestError: the header cannot be read, or its unit is unknown.
    """
    if path.suffix.lower() != ".hdr":
        return None
    image = _open_envi(path)
    if not image.bands.centers:
        return None
    centres = np.asarray(image.bands.centers, dtype=np.float64)
    unit = (image.bands.band_unit or "").lower()
    if unit not in NM_PER_UNIT:
        if unit not in ("", "unknown"):
            raise RequestError(
                f"The wavelengths are in {unit!r}", where=str(path), do="give them in nm as `wavelengths`"
            )
        # No unit: no band of light lies below 100 nm, and none of interest beyond 100 µm.
        unit = "micrometers" if centres.max() < 100 else "nanometers"
    return tuple((centres * NM_PER_UNIT[unit]).tolist())


def _open_envi(path: Path) -> SpyFile:
    try:
        image = envi.open(str(path))
    except (envi.EnviException, *UNREADABLE) as error:
        raise RequestError(f"This ENVI image cannot be read ({error})", where=str(path)) from error
    if not isinstance(image, SpyFile):
        raise RequestError("This ENVI header does not belong to an image", where=str(path))
    return image


def _read_envi(path: Path) -> np.ndarray:
    image = _open_envi(path)
    height, width, bands = image.shape
    needed = image.offset + height * width * bands * image.sample_size
    size = Path(image.filename).stat().st_size
    if size < needed:
        raise broken(Path(image.filename), EOFError(f"{size} bytes of {needed}"))
    with reading(Path(image.filename)):
        values = np.asarray(image.open_memmap(interleave="bip", writable=False))
    return values[..., 0] if bands == 1 else values
