"""Decoders of one vector: a spectrum, or the features of a spectrum."""

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
        for number, (before, after) in enumerate(pairwise([in_channels] + [hidden] * depth), 1):
            layers[f"linear{number}"] = nn.Linear(before, after)
            layers[f"relu{number}"] = nn.ReLU(inplace=True)
            layers[f"dropout{number}"] = nn.Dropout(dropout)
        layers[f"linear{depth + 1}"] = nn.Linear(hidden if depth else in_channels, num_classes)
        self.mlp = nn.Sequential(layers)

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.mlp(features_BD)


@register_decoder("fc")
class FC(nn.Module):
    """features_BD → logits_BK: batch norm and one linear layer, a linear probe where the encoder is frozen."""

    takes = "vector"

    def __init__(self, in_channels: int, num_classes: int) -> None:
        super().__init__()
        check_channels(in_channels, "a linear head")
        self.norm = nn.BatchNorm1d(in_channels)
        self.linear = nn.Linear(in_channels, num_classes)

    def forward(self, features_BD: Tensor) -> Tensor:
        return self.linear(self.norm(features_BD))
