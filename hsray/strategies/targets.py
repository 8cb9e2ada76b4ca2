"""Which layers of an encoder an adapter may change, found by what they are and by the names above them."""

from __future__ import annotations

from typing import Literal, get_args

from torch import nn

from hsray.errors import RequestError

Placement = Literal["attention", "mlp", "all"]
ATTENTION = ("attn", "attention", "self_attn")
FEED_FORWARD = ("mlp", "ffn")
# These read the weights of their layers and never call them: an adapter inside would be passed by without a word.
_OPAQUE = (nn.MultiheadAttention, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


def layers(encoder: nn.Module, placement: str = "all") -> dict[str, nn.Linear | nn.Conv2d]:
    """Name → linear layer or plain convolution that an adapter may change, in the order of the encoder.

    `attention` takes the layers below a module called `attn` (or alike), `mlp` those below one called `mlp` or `ffn`,
    `all` those whose last name the encoder's `adaptable` lists, or every one where none of these is there. Raises
    RequestError for another placement, and where there is no such layer.
    """
    if placement not in get_args(Placement):
        raise RequestError(
            f"an adapter cannot be placed at '{placement}'", do=f"use one of: {', '.join(get_args(Placement))}"
        )
    opaque = tuple(f"{name}." for name, module in encoder.named_modules() if isinstance(module, _OPAQUE))
    plain = {n: m for n, m in encoder.named_modules() if _is_plain(m) and not n.startswith(opaque)}
    found = {name: module for name, module in plain.items() if _is_placed(encoder, name, placement)}
    if not found and placement == "all":
        found = plain
    if not found:
        below = {"attention": " below an attention", "mlp": " below a feed-forward part", "all": ""}[placement]
        raise RequestError(
            f"the encoder has no linear layer or plain convolution{below} that an adapter can change",
            do="place the adapter elsewhere (`targets: all`), or use another one",
        )
    return found


def feed_forwards(encoder: nn.Module) -> dict[str, nn.Module]:
    """Name → feed-forward part of each transformer or ConvNeXt block; empty for other networks."""
    return {
        name: module
        for name, module in encoder.named_modules()
        if name.rpartition(".")[2] in FEED_FORWARD and any(_is_plain(layer) for layer in module.modules())
    }


def check_sizes(what: str, width: object, scale: object, dropout: object) -> None:
    """Refuse a width (rank) that is no whole number from 1, a scale (alpha) not above 0, a dropout not in [0, 1)."""
    numbers = isinstance(scale, int | float) and isinstance(dropout, int | float)
    whole = isinstance(width, int) and not isinstance(width, bool)
    if not (whole and numbers and width >= 1 and scale > 0 and 0 <= dropout < 1):  # type: ignore[operator]
        raise RequestError(
            f"{what} cannot be built",
            do="give a whole number of at least 1, a scale above 0, and a dropout from 0 to below 1",
        )


def _is_placed(encoder: nn.Module, name: str, placement: str) -> bool:
    *above, last = name.split(".")
    if placement == "all":
        adaptable = getattr(encoder, "adaptable", None)
        return adaptable is None or last in adaptable
    return any(part in (ATTENTION if placement == "attention" else FEED_FORWARD) for part in above)


def _is_plain(module: nn.Module) -> bool:
    """peft knows no dilation, half of grouped convolutions, and not the padding that others compute for themselves."""
    if isinstance(module, nn.Conv2d):
        own_padding = type(module).forward is not nn.Conv2d.forward and module.kernel_size != (1, 1)
        return module.groups == 1 and module.dilation == (1, 1) and not own_padding
    return isinstance(module, nn.Linear)
