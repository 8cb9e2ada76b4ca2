"""Which bands stand for red, green and blue."""

from __future__ import annotations

import numpy as np

RED_GREEN_BLUE_NM = (640.0, 550.0, 460.0)
FALSE_COLOUR = (5 / 6, 1 / 2, 1 / 6)  # of the range, where it holds less than two of the three colours


def rgb_bands(wavelengths_nm: np.ndarray) -> tuple[int, int, int]:
    """Return the bands nearest to 640, 550 and 460 nm, each clipped to the range of the wavelengths.

    A sensor that sees fewer than two of the three gets false colour: three bands spread evenly over its range, the
    longest wavelength as red. Wavelengths need not be sorted.
    """
    wavelengths_nm = np.asarray(wavelengths_nm, dtype=np.float64)
    low, high = float(wavelengths_nm.min()), float(wavelengths_nm.max())
    targets = RED_GREEN_BLUE_NM
    if sum(low <= nm <= high for nm in targets) < 2:
        targets = tuple(low + share * (high - low) for share in FALSE_COLOUR)  # type: ignore[assignment]
    red, green, blue = (int(np.abs(wavelengths_nm - min(max(nm, low), high)).argmin()) for nm in targets)
    return red, green, blue


def stretch(planes: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Return black and white points (3,) of pictures (..., 3): the 2nd and 98th percentile of each channel of all."""
    pixels_N3 = np.concatenate([plane.reshape(-1, 3) for plane in planes]).astype(np.float64)
    low_3, high_3 = np.percentile(pixels_N3, [2, 98], axis=0)
    return low_3, np.where(high_3 > low_3, high_3, low_3 + 1)
