"""U-Net and RU-Net as HS3-Bench trains them (arXiv 2409.11205); tensor names fit the authors' checkpoints."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsray.models.checks import check_channels
from hsray.models.pyramid_maps import take_one_image
from hsray.models.registry import register_decoder

_SMALLEST = 16  # four halvings


class DoubleConv(nn.Module):
    """Two 3×3 convolutions, each with ReLU, and with batch norm where asked (then without bias)."""

    def __init__(self, in_channels: int, mid_channels: int, out_channels: int, *, norm: bool) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise((in_channels, mid_channels, out_channels)):
            layers.append(nn.Conv2d(before, after, 3, padding=1, bias=not norm))
            if norm:
                layers.append(nn.BatchNorm2d(after))
            layers.append(nn.ReLU(inplace=True))
        self.double_conv = nn.Sequential(*layers)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.double_conv(x_BCHW)


class Down(nn.Module):
    """Halve the resolution, drop, convolve."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool, dropout: float) -> None:
        super().__init__()
        convolve = DoubleConv(in_channels, out_channels, out_channels, norm=norm)
        self.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), nn.Dropout(dropout), convolve)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.maxpool_conv(x_BCHW)


class Up(nn.Module):
    """Double the resolution, pad to the skip connection where it has an odd size, concatenate, convolve."""

    def __init__(self, in_channels: int, out_channels: int, *, norm: bool) -> None:
        super().__init__()
        self.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
        self.conv = DoubleConv(in_channels, in_channels // 2, out_channels, norm=norm)

    def forward(self, x_BCHW: Tensor, skip_BCHW: Tensor) -> Tensor:
        up_BCHW = self.up(x_BCHW)
        missing_H = skip_BCHW.shape[2] - up_BCHW.shape[2]
        missing_W = skip_BCHW.shape[3] - up_BCHW.shape[3]
        left, top = missing_W // 2, missing_H // 2
        up_BCHW = functional.pad(up_BCHW, (left, missing_W - left, top, missing_H - top))
        return self.conv(torch.cat([skip_BCHW, up_BCHW], dim=1))


class OutConv(nn.Module):
    """A 1×1 convolution to the classes."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, num_classes, 1)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.conv(x_BCHW)


@register_decoder("unet")
class UNet(nn.Module):
    """x_BCHW → logits_BKHW over four levels. `width` channels at full resolution; the published model has 64."""

    takes = "map"
    norm = False

    def __init__(self, in_channels: int, num_classes: int, width: int = 64, dropout: float = 0.0) -> None:
        super().__init__()
        check_channels(in_channels, "a U-Net")
        w, norm = width, self.norm
        self.inc = DoubleConv(in_channels, w, w, norm=norm)
        self.down1 = Down(w, 2 * w, norm=norm, dropout=0.0)
        self.down2 = Down(2 * w, 4 * w, norm=norm, dropout=0.0)
        self.down3 = Down(4 * w, 8 * w, norm=norm, dropout=0.0)
        self.down4 = Down(8 * w, 8 * w, norm=norm, dropout=dropout)
        self.up1 = Up(16 * w, 4 * w, norm=norm)
        self.up2 = Up(8 * w, 2 * w, norm=norm)
        self.up3 = Up(4 * w, w, norm=norm)
        self.up4 = Up(2 * w, w, norm=norm)
        self.outc = OutConv(w, num_classes)
        take_one_image(self)  # the deepest level of one small image is a single value a channel

    def forward(self, x_BCHW: Tensor) -> Tensor:
        height, width = x_BCHW.shape[2:]
        # Smaller images have no deepest level; repeat their border and cut the logits back.
        short_H, short_W = max(0, _SMALLEST - height), max(0, _SMALLEST - width)
        if short_H or short_W:
            x_BCHW = functional.pad(x_BCHW, (0, short_W, 0, short_H), mode="replicate")
        level1 = self.inc(x_BCHW)
        level2 = self.down1(level1)
        level3 = self.down2(level2)
        level4 = self.down3(level3)
        x = self.up1(self.down4(level4), level4)
        x = self.up4(self.up3(self.up2(x, level3), level2), level1)
        return self.outc(x)[:, :, :height, :width]


@register_decoder("runet")
class RUNet(UNet):
    """The regularised U-Net: batch norm, and dropout after the deepest max-pool."""

    norm = True

    def __init__(self, in_channels: int, num_classes: int, width: int = 64, dropout: float = 0.25) -> None:
        super().__init__(in_channels, num_classes, width=width, dropout=dropout)
