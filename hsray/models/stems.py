"""Stems: from the channels of a view to those that an encoder takes."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsray.datasets.pseudorgb import rgb_bands
from hsray.models.patches import needed_wavelengths
from hsray.models.registry import register_stem
from hsray.models.spectral_transformer import SpectralTransformer

_GRID = 8  # an image is seen as this many means a side
_RESPONSE_NM = 30.0  # deviation of the colours' first response


@register_stem("conv1x1")
class Conv1x1(nn.Conv2d):
    """x_BCHW → x_BDHW: a learned mixture of bands at every pixel, as HS3-Bench puts in front of RGB models."""

    def __init__(self, in_channels: int, channels: int = 3) -> None:
        super().__init__(in_channels, channels, kernel_size=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW)


@register_stem("spectral-attention")
class SpectralAttention(nn.Module):
    """x_BLHW of L bands at known wavelengths → x_B3HW: every image mixes its bands as its own content asks.

    Each band, as an 8×8 picture of means and its wavelength, attends to all others; three learned queries then draw
    weights over the bands, which sum to one. The weights start as Gaussian responses around red, green and blue (or
    false colour, as in the pseudo-RGB view), so an RGB encoder is shown a picture from the first step. No weight
    depends on the number of bands. Our own design. Raises RequestError without wavelengths.
    """

    response_3L: Tensor
    out_channels = 3

    def __init__(self, in_channels: int, wavelengths_nm: Tensor | None = None, width: int = 64, depth: int = 2) -> None:
        super().__init__()
        nm_L = needed_wavelengths(wavelengths_nm, in_channels, "the stem 'spectral-attention'")
        self.bands = SpectralTransformer(_GRID**2, nm_L, width, depth)
        self.queries_3D = nn.Parameter(torch.randn(3, width) * 0.02)
        self.register_buffer("response_3L", _log_response(nm_L), persistent=False)

    def forward(self, x_BLHW: Tensor) -> Tensor:
        pictures_BLF = functional.adaptive_avg_pool2d(x_BLHW, _GRID).flatten(2)
        tokens_BLD = self.bands(pictures_BLF)
        scores_B3L = self.queries_3D @ tokens_BLD.transpose(1, 2) / tokens_BLD.shape[-1] ** 0.5
        mixture_B3L = (scores_B3L + self.response_3L).softmax(dim=-1)
        return torch.einsum("bcl,blhw->bchw", mixture_B3L, x_BLHW)


def _log_response(nm_L: Tensor) -> Tensor:
    """Logarithms (3, L) of Gaussian responses around the bands of red, green and blue."""
    centres_3 = nm_L[list(rgb_bands(nm_L.numpy()))]
    return -0.5 * ((nm_L - centres_3[:, None]) / _RESPONSE_NM).square()
