"""A dataset, a decoder and a strategy that hsray knows nothing of."""

import os
from pathlib import Path

import torch
from torch import nn


def dataset() -> Path:
    """Folder of a prepared dataset; a real package would bring it along or fetch it."""
    return Path(os.environ["HSRAY_EXAMPLE_DATA"])


class Centroids(nn.Module):
    """features_BD → logits_BK: the nearer a learned centroid, the likelier its class."""

    takes = "vector"

    def __init__(self, in_channels: int, num_classes: int, scale: float = 1.0) -> None:
        super().__init__()
        self.centroids_KD = nn.Parameter(torch.randn(num_classes, in_channels) * 0.1)
        self.scale = scale

    def forward(self, features_BD: torch.Tensor) -> torch.Tensor:
        return -self.scale * torch.cdist(features_BD, self.centroids_KD)


STRATEGY = {"decoder": {"name": "example-centroids", "scale": 2.0}, "training": {"batch": 32}}
