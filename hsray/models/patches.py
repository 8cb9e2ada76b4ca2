"""What image encoders that cut a picture into patches share: sizes, grids, depths, and the wavelengths they need."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models.checks import check_wavelengths


def pad_to(x_BCHW: Tensor, multiple: int) -> Tensor:
    """The image with its border repeated on the right and at the bottom, until `multiple` divides both sides."""
    height, width = x_BCHW.shape[2:]
    missing = (0, -width % multiple, 0, -height % multiple)
    return functional.pad(x_BCHW, missing, mode="replicate") if any(missing) else x_BCHW


def as_map(tokens_BND: Tensor, grid: tuple[int, int]) -> Tensor:
    """Patch tokens in reading order (without class tokens) → x_BDHW on the grid of patches."""
    return tokens_BND.transpose(1, 2).reshape(len(tokens_BND), -1, *grid)


def level_depths(depth: int, levels: int) -> tuple[int, ...]:
    """Indices of the blocks after which maps are taken: evenly spaced, the last block always. Raises RequestError."""
    if not isinstance(levels, int) or not 1 <= levels <= depth:
        raise RequestError(
            f"an encoder of {depth} blocks cannot give {levels} levels", do=f"choose encoder levels from 1 to {depth}"
        )
    return tuple(depth * (level + 1) // levels - 1 for level in range(levels))


def known_size(sizes: dict[str, tuple[int, ...]], size: str, what: str) -> tuple[int, ...]:
    """The shape of a named size. Raises RequestError, listing those that exist."""
    if size not in sizes:
        raise RequestError(f"{what} has no size '{size}'", do=f"choose encoder size: {', '.join(sizes)}")
    return sizes[size]


def needed_wavelengths(wavelengths_nm: Tensor | None, in_channels: int, what: str) -> Tensor:
    """Wavelengths (L,) of all channels, in nm. Raises RequestError where they are missing or do not fit."""
    nm_L = check_wavelengths(wavelengths_nm, in_channels, what).to(torch.float32)
    if not bool((torch.isfinite(nm_L) & (nm_L > 0)).all()):
        raise RequestError(f"{what} needs wavelengths above 0 nm", do="mend the dataset's wavelengths")
    return nm_L
