"""Checks that several architectures share."""

from __future__ import annotations

from torch import Tensor

from hsray.errors import RequestError


def check_channels(in_channels: int | tuple[int, ...], what: str) -> None:
    """Refuse what is not a positive number of input channels."""
    if not isinstance(in_channels, int) or in_channels < 1:
        raise RequestError(
            f"{what} takes one map or vector with at least one channel, not {in_channels}",
            do="choose a decoder that takes what the encoder gives",
        )


def check_wavelengths(wavelengths_nm: Tensor | None, in_channels: int, what: str) -> Tensor:
    """The wavelengths (L,) of all bands. Raises RequestError where they are missing or of another number."""
    if wavelengths_nm is None:
        raise RequestError(
            f"{what} needs the wavelength of every band, and the input has none",
            do="use the view 'bands' without a stem, of a dataset whose wavelengths are known",
        )
    if wavelengths_nm.shape != (in_channels,):
        raise RequestError(
            f"{in_channels} input channels and {wavelengths_nm.numel()} wavelengths do not fit {what}",
            do="use the view 'bands' without a stem",
        )
    return wavelengths_nm
