"""Decoders of one vector: a spectrum, or the features of a spectrum. Tensor names fit the checkpoints of the transfer
study (arXiv 2604.26478).

Two decoders are one linear layer in the study: `fc`, bare, is its baseline on the bands; `hypersl-fc`, with batch norm
in front, is its head on HyperSL's features.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise

from torch import Tensor, nn

from hsray.models.checks import check_channels
from hsray.models.registry import register_decoder


@register_decoder("mlp")
class MLP(nn.Module):
    """features_BD → logits_BK through `depth` hidden layers of `hidden` units with ReLU and dropout."""

    takes = "vector"

    def __init__(
        self, in_channels: int, num_classes: int, hidden: int = 256, depth: int = 2, dropout: float = 0.0
    ) -> None:
        super().__init__()
        check_channels(in_channels, "an MLP")
        layers: OrderedDict[str, nn.Module] = OrderedDict()
        for number, (before, after) in enumerate(pairwise([in_channels] + [hidden] * depth)):
            layers[f"linear{number}"] = nn.Linear(before, after)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            layers[f"dropout{number}"] = nn.Dropout(dropout)
        layers[f"linear{depth}"] = nn.Linear(hidden if depth else in_channels, num_classes)
        self.mlp = nn.Sequential(layers)

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.mlp(features_BD)


@register_decoder("fc")
class FC(MLP):
    """features_BD → logits_BK: one linear layer and nothing else, the study's FC."""

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__(in_channels, num_classes, depth=0)


@register_decoder("hypersl-fc")
class HyperSLFC(nn.Module):
    """features_BD → logits_BK: batch norm and one linear layer, a linear probe where the encoder is frozen."""

    takes = "vector"

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        check_channels(in_channels, "a linear head")
        layers = nn.Sequential(nn.BatchNorm1d(in_channels), nn.Linear(in_channels, num_classes))
        self.classifier = nn.ModuleDict({"classifier": layers})

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.classifier["classifier"](features_BD)


@register_decoder("hypersl-clf")
class HyperSLCLF(nn.Module):
    """features_BD → logits_BK: HyperSL's own classifier, on patches of one pixel as in the study.

    Two convolutions over the one pixel and a three-layer perceptron. A GELU comes last, as in the official code: no
    logit is below -0.17.
    """

    takes = "vector"

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        check_channels(in_channels, "HyperSL's classifier")
        convolutions = nn.Sequential(
            nn.Conv2d(in_channels, 64, 1),
            nn.BatchNorm2d(64),
            nn.GELU(),
            nn.Conv2d(64, 512, 3, stride=2, padding=1),
            nn.BatchNorm2d(512),
            nn.GELU(),
        )
        perceptron = nn.Sequential(
            nn.Linear(512, 1024),
            nn.Dropout(0.2),
            nn.GELU(),
            nn.Linear(1024, 1024),
            nn.Dropout(0.4),
            nn.GELU(),
            nn.Linear(1024, num_classes),
            nn.GELU(),
        )
        self.classifier = nn.ModuleDict({"convblock": convolutions, "classifier": perceptron})

    def forward(self, features_BD: Tensor) -> Tensor:
        x_BD11 = self.classifier["convblock"](features_BD[:, :, None, None])
        return self.classifier["classifier"](x_BD11.flatten(1))
