"""The bottleneck adapter: a narrow branch beside the feed-forward part of every block."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.strategies.targets import check_sizes, feed_forwards, layers


class Bottleneck(nn.Module):
    """f(x) + scale · up(ReLU(down(x))) beside a layer or a feed-forward part f; `up` starts at zero.

    Maps of a convolution keep their layout: then both are 1×1 convolutions, and the stride of f is that of `down`.
    """

    def __init__(self, base_layer: nn.Module, width: int, scale: float, dropout: float) -> None:
        super().__init__()
        self.base_layer, self.scale = base_layer, scale
        inside = [layer for layer in base_layer.modules() if isinstance(layer, nn.Linear | nn.Conv2d)]
        first: Any = inside[0]
        last: Any = inside[-1]
        if hasattr(first, "kernel_size"):
            self.down: Any = nn.Conv2d(first.in_channels, width, 1, stride=first.stride)
            self.up: Any = nn.Conv2d(width, last.out_channels, 1)
        else:
            self.down, self.up = nn.Linear(first.in_features, width), nn.Linear(width, last.out_features)
        self.dropout = nn.Dropout(dropout)
        nn.init.kaiming_uniform_(self.down.weight, nonlinearity="relu")
        for zero in (self.down.bias, self.up.weight, self.up.bias):
            nn.init.zeros_(zero)
        self.down.to(first.weight), self.up.to(first.weight)

    def forward(self, x: Tensor) -> Tensor:
        return self.base_layer(x) + self.scale * self.up(self.dropout(self.down(x).relu()))


def bottleneck(encoder: nn.Module, width: int = 64, scale: float = 0.1, dropout: float = 0.0) -> nn.Module:
    """AdaptFormer (Chen et al., NeurIPS 2022, eq. 5 and 6), with its width of 64 and scale of 0.1.

    Encoders without feed-forward parts (CNNs, U-Nets) get a branch beside every plain convolution that keeps its grid.
    Raises RequestError where there is neither.
    """
    check_sizes(f"a bottleneck of width {width}, scale {scale} and dropout {dropout}", width, scale, dropout)
    encoder.requires_grad_(False)
    for name, module in (feed_forwards(encoder) or _convolutions(encoder)).items():
        encoder.set_submodule(name, Bottleneck(module, width, scale, dropout))
    return encoder


def _convolutions(encoder: nn.Module) -> dict[str, nn.Module]:
    found: dict[str, nn.Module] = {
        name: layer
        for name, layer in layers(encoder).items()
        if isinstance(layer, nn.Conv2d)
        and all(p == k // 2 and k % 2 for k, p in zip(layer.kernel_size, layer.padding, strict=False))
    }
    if not found:
        raise RequestError(
            "the encoder has no feed-forward part and no plain convolution for a bottleneck to stand beside",
            do="use another adapter",
        )
    return found
