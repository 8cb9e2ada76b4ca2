"""Checks that several architectures share."""

from __future__ import annotations

from hsray.errors import RequestError


def check_channels(in_channels: int | tuple[int, ...], what: str) -> None:
    """Refuse what is not a positive number of input channels."""
    if not isinstance(in_channels, int) or in_channels < 1:
        raise RequestError(
            f"{what} takes one map or vector with at least one channel, not {in_channels}",
            do="choose a decoder that takes what the encoder gives",
        )
