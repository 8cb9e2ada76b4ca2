"""Stems: from the channels of a view to those that an encoder takes."""

from __future__ import annotations

from torch import Tensor, nn

from hsray.models.registry import register_stem


@register_stem("conv1x1")
class Conv1x1(nn.Conv2d):
    """x_BCHW → x_BDHW: a learned mixture of bands at every pixel, as HS3-Bench puts in front of RGB models."""

    def __init__(self, in_channels: int, channels: int = 3) -> None:
        super().__init__(in_channels, channels, kernel_size=1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return super().forward(x_BCHW)
