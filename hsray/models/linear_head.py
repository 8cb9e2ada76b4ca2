"""A linear head over the last maps of an image encoder, with which frozen encoders are commonly compared."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models.pyramid_maps import BatchNormOfFew, check_pyramid, logits_at
from hsray.models.registry import register_decoder


@register_decoder("linear")
class LinearHead(nn.Module):
    """(maps, size_HW) → logits_BKHW: batch norm and a 1×1 convolution on the last map, drawn up bilinearly.

    As DINOv2 evaluates frozen features (arXiv 2304.07193, section 7.4). `maps` takes the last few instead, brought to
    the size of the finest and stacked; without `norm` it is the classifier alone.
    """

    takes = "pyramid"

    def __init__(self, in_channels: int | tuple[int, ...], num_classes: int, maps: int = 1, norm: bool = True) -> None:
        super().__init__()
        channels = check_pyramid(in_channels, "linear")
        if not isinstance(maps, int) or not 1 <= maps < len(channels):
            raise RequestError(
                f"{maps} maps cannot be taken from an encoder that gives {len(channels) - 1}",
                do=f"choose decoder maps from 1 to {len(channels) - 1}",
            )
        self.maps = maps
        width = sum(channels[-maps:])
        self.norm = BatchNormOfFew(width) if norm else nn.Identity()
        self.classify = nn.Conv2d(width, num_classes, 1)

    def forward(self, maps: list[Tensor], size_HW: tuple[int, int]) -> Tensor:
        finest_HW = maps[-self.maps].shape[2:]
        levels = [
            one if one.shape[2:] == finest_HW else functional.interpolate(one, finest_HW, mode="bilinear")
            for one in maps[-self.maps :]
        ]
        return logits_at(self.classify(self.norm(torch.cat(levels, dim=1))), maps[0], size_HW)
