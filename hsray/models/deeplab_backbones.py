"""The two backbones of HS3-Bench's DeepLabV3+, at output stride 16: MobileNetV2 and ResNet-101.

Tensor names and arithmetic fit the published checkpoints. MobileNetV2 differs from torchvision's: a block pads its
input with zeros before its first convolution, not before the second, and the network's very first one is not padded.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import resnet101

# expansion, channels, blocks, stride of the first block, dilation of the first block and of the others
_STAGES = (
    (1, 16, 1, 1, 1, 1),
    (6, 24, 2, 2, 1, 1),
    (6, 32, 3, 2, 1, 1),
    (6, 64, 4, 2, 1, 1),
    (6, 96, 3, 1, 1, 1),
    (6, 160, 3, 1, 1, 2),  # the stride of 2 is replaced by dilation
    (6, 320, 1, 1, 2, 2),
)
_TIMM_BLOCK = re.compile(r"blocks\.(\d)\.(\d)\.(\w+)\.(\w+)")
# timm's names of the layers of a block, without and with an expansion in front.
_TIMM_LAYERS = (
    {"conv_dw": "0.0", "bn1": "0.1", "conv_pw": "1", "bn2": "2"},
    {"conv_pw": "0.0", "bn1": "0.1", "conv_dw": "1.0", "bn2": "1.1", "conv_pwl": "2", "bn3": "3"},
)
_LOW_LEVEL = 4  # blocks up to the map at stride 4


def _conv_norm_relu(
    in_channels: int, out_channels: int, kernel: int, stride: int = 1, dilation: int = 1, groups: int = 1
) -> nn.Sequential:
    convolve = nn.Conv2d(in_channels, out_channels, kernel, stride, dilation=dilation, groups=groups, bias=False)
    return nn.Sequential(convolve, nn.BatchNorm2d(out_channels), nn.ReLU6(inplace=True))


class InvertedResidual(nn.Module):
    """Expand, convolve each channel, project; the input is added where shapes allow (arXiv 1801.04381, figure 3)."""

    def __init__(self, in_channels: int, out_channels: int, expansion: int, stride: int, dilation: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        expand = [_conv_norm_relu(in_channels, hidden, 1)] if expansion != 1 else []
        self.conv = nn.Sequential(
            *expand,
            _conv_norm_relu(hidden, hidden, 3, stride, dilation, groups=hidden),
            nn.Conv2d(hidden, out_channels, 1, bias=False),
            nn.BatchNorm2d(out_channels),
        )
        self.residual = stride == 1 and in_channels == out_channels
        self.padding = (dilation,) * 4

    def forward(self, x_BCHW: Tensor) -> Tensor:
        y_BCHW = self.conv(functional.pad(x_BCHW, self.padding))
        return x_BCHW + y_BCHW if self.residual else y_BCHW


class MobileNetV2(nn.Module):
    """x_B3HW → (24 channels at stride 4, 320 channels at stride 16)."""

    adaptable = ("0", "1", "2")  # the pointwise convolutions, by their place in a block
    low_channels, high_channels = 24, 320
    hub_name = "mobilenetv2_100"

    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_conv_norm_relu(3, 32, 3, stride=2)]
        before = 32
        for expansion, channels, count, stride, first, others in _STAGES:
            for index in range(count):
                step, dilation = (stride, first) if index == 0 else (1, others)
                blocks.append(InvertedResidual(before, channels, expansion, step, dilation))
                before = channels
        # Published names count on through both halves.
        features = nn.Sequential(*blocks)
        self.low_level_features = features[:_LOW_LEVEL]
        self.high_level_features = features[_LOW_LEVEL:]
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out")

    def forward(self, x_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        low = self.low_level_features(x_B3HW)
        return low, self.high_level_features(low)

    @staticmethod
    def published(name: str) -> str:
        """The own name of one of torchvision's (`features.4.conv.0.0.weight`) or timm's (`blocks.2.0.conv_pw.weight`);
        others, such as those of a classifier, as they are.
        """
        if match := _TIMM_BLOCK.fullmatch(name):
            stage, block, layer, tensor = match.groups()
            number = 1 + sum(count for _, _, count, *_ in _STAGES[: int(stage)]) + int(block)
            name = f"features.{number}.conv.{_TIMM_LAYERS[int(stage) > 0].get(layer, layer)}.{tensor}"
        elif name.startswith(("conv_stem.", "bn1.")):
            name = name.replace("conv_stem.", "features.0.0.").replace("bn1.", "features.0.1.")
        number_of = re.match(r"features\.(\d+)\.", name)
        half = "low" if number_of and int(number_of[1]) < _LOW_LEVEL else "high"
        return name.replace("features.", f"{half}_level_features.", 1) if number_of else name


class ResNet101(nn.Module):
    """x_B3HW → (256 channels at stride 4, 2048 channels at stride 16): torchvision's, without its classifier."""

    adaptable = ("conv1", "conv2", "conv3")
    low_channels, high_channels = 256, 2048
    hub_name = "resnet101.tv_in1k"  # torchvision's own weights

    def __init__(self) -> None:
        super().__init__()
        whole = resnet101(replace_stride_with_dilation=[False, False, True])
        self.conv1, self.bn1, self.relu, self.maxpool = whole.conv1, whole.bn1, whole.relu, whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4

    def forward(self, x_B3HW: Tensor) -> tuple[Tensor, Tensor]:
        low = self.layer1(self.maxpool(self.relu(self.bn1(self.conv1(x_B3HW)))))
        return low, self.layer4(self.layer3(self.layer2(low)))

    @staticmethod
    def published(name: str) -> str:
        """torchvision's names are the own ones."""
        return name


BACKBONES: dict[str, Callable[[], MobileNetV2 | ResNet101]] = {"mobilenetv2": MobileNetV2, "resnet101": ResNet101}
