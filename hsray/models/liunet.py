"""LiuNet and Justo-LiuNet: small 1-D convolutional nets over the bands of one spectrum.

Sources: Liu et al., "Hyperspectral classification based on spectral 1D CNN" (2018), and Justo et al. (arXiv
2310.16210), as the transfer study (arXiv 2604.26478) trains them. Tensor names fit the authors' checkpoints.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models.checks import check_channels
from hsray.models.registry import register_decoder

_ROWS = 4096  # spectra at a time where nothing learns: an image has hundreds of thousands


class Block(nn.Module):
    """Convolve over the bands, with batch norm where asked, ReLU, and halve the number of bands."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int, *, norm: bool) -> None:
        super().__init__()
        conv = nn.Conv1d(in_channels, out_channels, kernel_size, padding="same")
        self.conv = nn.Sequential(conv, nn.BatchNorm1d(out_channels)) if norm else conv

    def forward(self, x_BCL: Tensor) -> Tensor:
        return functional.max_pool1d(functional.relu(self.conv(x_BCL)), 2)


@register_decoder("liunet")
class LiuNet(nn.Module):
    """spectra_BL → logits_BK: one block for each entry of `kernels`, then one linear layer.

    Every block halves the bands, so the published four blocks need 16 of them. Raises RequestError for fewer, and
    for an even or non-positive `kernel_size`.
    """

    takes = "vector"

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        kernels: Sequence[int] = (32, 32, 64, 64),
        kernel_size: int = 3,
        norm: bool = True,
    ) -> None:
        super().__init__()
        check_channels(in_channels, "a LiuNet")
        if not kernels or min(kernels) < 1 or kernel_size < 1 or kernel_size % 2 == 0:
            raise RequestError(
                f"a LiuNet of kernels {list(kernels)} and kernel_size {kernel_size} cannot be built",
                do="give at least one positive number of kernels, and an odd kernel_size",
            )
        fewest = 2 ** len(kernels)
        if in_channels < fewest:
            raise RequestError(
                f"a LiuNet of {len(kernels)} blocks needs at least {fewest} bands, and the input has {in_channels}",
                do="use another decoder (fc, mlp or minirocket) or fewer entries in `kernels`",
            )
        self.input_layer = Block(1, kernels[0], kernel_size, norm=norm)
        self.feature_extraction = nn.Sequential(
            *(Block(before, after, kernel_size, norm=norm) for before, after in pairwise(kernels))
        )
        self.output_layer = nn.Linear(kernels[-1] * (in_channels // fewest), num_classes)

    def forward(self, spectra_BL: Tensor) -> Tensor:
        if self.training:
            return self._logits(spectra_BL)
        return torch.cat([self._logits(part_BL) for part_BL in spectra_BL.split(_ROWS)])

    def _logits(self, spectra_BL: Tensor) -> Tensor:
        x_BCL = self.feature_extraction(self.input_layer(spectra_BL.unsqueeze(1)))
        return self.output_layer(x_BCL.flatten(1))


@register_decoder("justo-liunet")
class JustoLiuNet(LiuNet):
    """The LiuNet of Justo et al.: fewer and longer kernels, no batch norm."""

    def __init__(
        self,
        in_channels: int,
        num_classes: int,
        kernels: Sequence[int] = (6, 12, 18, 24),
        kernel_size: int = 7,
        norm: bool = False,
    ) -> None:
        super().__init__(in_channels, num_classes, kernels, kernel_size, norm)
