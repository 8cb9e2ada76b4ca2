"""DeepLabV3+ as HS3-Bench trains it (arXiv 2409.11205; arXiv 1802.02611, without separable convolutions).

Tensor names and arithmetic fit the authors' checkpoints (`model.…`), and those of the same architecture that were
trained on Cityscapes (the same names without `model.`). The benchmark's recipes:
DL3+ is the whole model from scratch; (BB) and (PT) are the encoder of the same name under a linear classifier.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models.checks import check_channels
from hsray.models.deeplab_backbones import BACKBONES, MobileNetV2, ResNet101
from hsray.models.pyramid_maps import take_one_image
from hsray.models.registry import register_decoder, register_encoder
from hsray.models.rgb import RgbScale

_RATES = (6, 12, 18)
_WIDTH, _LOW_WIDTH = 256, 48
_SMALLEST = 3  # pixels; MobileNetV2 does not pad its first convolution
_IMAGENET = {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}


def _conv_norm_relu(in_channels: int, out_channels: int, kernel: int, dilation: int = 1) -> nn.Sequential:
    padding = dilation * (kernel // 2)
    convolve = nn.Conv2d(in_channels, out_channels, kernel, padding=padding, dilation=dilation, bias=False)
    return nn.Sequential(convolve, nn.BatchNorm2d(out_channels), nn.ReLU(inplace=True))


class AtrousPyramid(nn.Module):
    """A 1×1 convolution, three dilated ones and the image's mean, side by side, then projected to 256 channels."""

    def __init__(self, in_channels: int) -> None:
        super().__init__()
        mean = nn.Sequential(nn.AdaptiveAvgPool2d(1), *_conv_norm_relu(in_channels, _WIDTH, 1))
        dilated = [_conv_norm_relu(in_channels, _WIDTH, 3, rate) for rate in _RATES]
        self.convs = nn.ModuleList([_conv_norm_relu(in_channels, _WIDTH, 1), *dilated, mean])
        self.project = nn.Sequential(*_conv_norm_relu(5 * _WIDTH, _WIDTH, 1), nn.Dropout(0.1))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        branches = [convolve(x_BCHW) for convolve in self.convs]
        branches[-1] = branches[-1].expand_as(branches[0])
        return self.project(torch.cat(branches, dim=1))


class Head(nn.Module):
    """(low, high) maps → x_B256HW at the size of the low one, or logits_BKHW where there are classes."""

    def __init__(self, low_channels: int, high_channels: int, num_classes: int | None) -> None:
        super().__init__()
        self.project = _conv_norm_relu(low_channels, _LOW_WIDTH, 1)
        self.aspp = AtrousPyramid(high_channels)
        last = [] if num_classes is None else [nn.Conv2d(_WIDTH, num_classes, 1)]
        self.classifier = nn.Sequential(*_conv_norm_relu(_LOW_WIDTH + _WIDTH, _WIDTH, 3), *last)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, low: Tensor, high: Tensor) -> Tensor:
        low, high = self.project(low), self.aspp(high)
        high = functional.interpolate(high, low.shape[2:], mode="bilinear", align_corners=False)
        return self.classifier(torch.cat([low, high], dim=1))


class DeepLab(nn.Module):
    """x_BCHW → x_B256HW at stride 4, or logits_BKHW at the size of the image where there are classes."""

    def __init__(self, in_channels: int, num_classes: int | None, backbone: str) -> None:
        super().__init__()
        if backbone not in BACKBONES:
            raise RequestError(
                f"DeepLabV3+ of HS3-Bench has no backbone '{backbone}'", do=f"use one of: {', '.join(BACKBONES)}"
            )
        self.input_layer = nn.Conv2d(in_channels, 3, 1) if in_channels != 3 else None
        self.backbone: MobileNetV2 | ResNet101 = BACKBONES[backbone]()
        self.classifier = Head(self.backbone.low_channels, self.backbone.high_channels, num_classes)
        take_one_image(self)

    def features(self, x_BCHW: Tensor) -> Tensor:
        """What the head gives, at stride 4."""
        short_H, short_W = (max(0, _SMALLEST - side) for side in x_BCHW.shape[2:])
        if short_H or short_W:
            x_BCHW = functional.pad(x_BCHW, (0, short_W, 0, short_H), mode="replicate")
        x_B3HW = x_BCHW if self.input_layer is None else self.input_layer(x_BCHW)
        return self.classifier(*self.backbone(x_B3HW))

    def forward(self, x_BCHW: Tensor) -> Tensor:
        size = [max(side, _SMALLEST) for side in x_BCHW.shape[2:]]
        logits = functional.interpolate(self.features(x_BCHW), size, mode="bilinear", align_corners=False)
        return logits[:, :, : x_BCHW.shape[2], : x_BCHW.shape[3]]


@register_decoder("deeplabv3plus-hs3")
class DeepLabV3Plus(nn.Module):
    """x_BCHW → logits_BKHW: the whole model, with a 1×1 convolution to three channels where there are not three.

    `backbone` is mobilenetv2 or resnet101. Raises RequestError for another one.
    """

    takes = "map"

    def __init__(self, in_channels: int, num_classes: int, backbone: str = "mobilenetv2") -> None:
        super().__init__()
        check_channels(in_channels, "DeepLabV3+")
        self.model = DeepLab(in_channels, num_classes, backbone)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.model(x_BCHW)


@register_encoder("deeplabv3plus-hs3")
class DeepLabEncoder(nn.Module):
    """x_B3HW (RGB in 0–1) → [the input, x_B256HW at stride 4]: the model up to its last 1×1 convolution.

    Weights of the backbone alone (timm's or torchvision's, ImageNet) leave the head as it starts, which is (BB);
    weights of a whole segmentation model (Cityscapes) are loaded up to the classes, which is (PT). An adapter concerns
    the backbone alone: under `frozen` the head still learns, as in the benchmark. Weights that know ImageNet's
    normalisation find it sealed inside. Raises RequestError for other than three channels.
    """

    takes = "image"
    gives = "pyramid"
    family = "rgb"
    normalise = "unit"
    adapted_part = "net.backbone"
    spare_tensors = ("",)  # the backbone's classifier, the classes of the segmentation model, a first layer for bands
    strides = (1, 4)

    def __init__(self, in_channels: int, wavelengths_nm: Tensor | None = None, backbone: str = "mobilenetv2") -> None:
        super().__init__()
        if in_channels != 3:
            raise RequestError(
                f"the encoder 'deeplabv3plus-hs3' takes three channels (RGB), not {in_channels}",
                do="use the pseudo-RGB view, or a stem that leads to three channels",
            )
        self.net = DeepLab(3, None, backbone)
        self.model = self.net.backbone.hub_name
        self.out_channels = (3, _WIDTH)
        self.scale = RgbScale(_IMAGENET)

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Names of a segmentation model, or of a backbone alone: torchvision's or timm's."""
        own = self.net.state_dict()
        bare = {name.removeprefix("net.").removeprefix("model."): tensor for name, tensor in tensors.items()}
        if not own.keys() & bare.keys():
            bare = {f"backbone.{self.net.backbone.published(name)}": tensor for name, tensor in bare.items()}
            bare |= {name: tensor for name, tensor in own.items() if not name.startswith("backbone.")}
        return {f"net.{name}": tensor for name, tensor in bare.items()}

    def forward(self, x_B3HW: Tensor) -> list[Tensor]:
        return [x_B3HW, self.net.features(self.scale(x_B3HW))]
