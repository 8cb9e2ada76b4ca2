"""A decoder that runs out of memory on purpose."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hsray.models import register_decoder


@register_decoder("greedy")
class Greedy(nn.Module):
    """One linear layer. More samples than `most` while it learns, or `most_scored` while it is scored, are too many."""

    takes = "vector"
    ceiling = 10**6  # for all, while it learns: a test lowers it in the middle of a run

    def __init__(self, in_channels: int, num_classes: int, most: int = 10**6, most_scored: int = 10**6) -> None:
        super().__init__()
        self.most, self.most_scored = most, most_scored
        self.layer = nn.Linear(in_channels, num_classes)

    def forward(self, features_BD: Tensor) -> Tensor:
        if len(features_BD) > (min(self.most, self.ceiling) if self.training else self.most_scored):
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(features_BD)} GiB")
        return self.layer(features_BD)
