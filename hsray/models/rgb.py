"""What encoders with RGB weights share: their sealed normalisation, and weights inflated to any number of channels."""

from __future__ import annotations

from typing import Any

import torch
from timm.models import adapt_input_conv
from torch import Tensor, nn

from hsray.errors import RequestError


class RgbScale(nn.Module):
    """x_BCHW in 0–1 → as the weights were trained; beyond three channels mean and deviation go round red, green, blue.

    Neither is part of the state dict: they follow from the model's name.
    """

    mean_C: Tensor
    std_C: Tensor

    def __init__(self, cfg: dict[str, Any], channels: int = 3) -> None:
        super().__init__()
        rounds = -(-channels // 3)
        self.register_buffer("mean_C", torch.tensor(cfg["mean"]).repeat(rounds)[:channels], persistent=False)
        self.register_buffer("std_C", torch.tensor(cfg["std"]).repeat(rounds)[:channels], persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return (x_BCHW - self.mean_C[:, None, None]) / self.std_C[:, None, None]


def check_rgb(in_channels: int, inflate: bool, what: str) -> None:
    """Refuse other than three channels, unless the weights are to be inflated."""
    if in_channels != 3 and not inflate:
        raise RequestError(
            f"{what} takes three channels (RGB), not {in_channels}",
            do="use the pseudo-RGB view, a stem that leads to three channels, or the encoder's option inflate: true",
        )


def inflated(tensors: dict[str, Tensor], own: dict[str, Tensor]) -> dict[str, Tensor]:
    """RGB convolutions whose own counterpart has other than three input channels, repeated and scaled by timm's rule.

    The filters go round red, green, blue and are scaled by 3 / channels, so that repeated RGB gives what RGB gave.
    """
    return {name: _inflated(tensor, own.get(name)) for name, tensor in tensors.items()}


def _inflated(tensor: Tensor, own: Tensor | None) -> Tensor:
    if own is None or own.ndim != 4 or tensor.ndim != 4 or tensor.shape[1] != 3 or own.shape[1] == 3:
        return tensor
    return adapt_input_conv(own.shape[1], tensor)
