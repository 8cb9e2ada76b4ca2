"""Adapters of the library peft: LoRA, DoRA and (IA)³. They change an encoder in place and start as the encoder was."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from torch import nn

from hsray.strategies.targets import FEED_FORWARD, check_sizes, feed_forwards, layers


def lora(
    encoder: nn.Module, rank: int = 8, alpha: int | None = None, dropout: float = 0.0, targets: str = "all"
) -> nn.Module:
    """LoRA (Hu et al., ICLR 2022): W x + (alpha / rank) B A x. `alpha` is twice the rank where left out; `targets` is
    attention, mlp or all. Raises RequestError.
    """
    return _low_rank(encoder, rank, alpha, dropout, targets, use_dora=False)


def dora(
    encoder: nn.Module, rank: int = 8, alpha: int | None = None, dropout: float = 0.0, targets: str = "all"
) -> nn.Module:
    """DoRA (Liu et al., ICML 2024): LoRA turns the weights' direction, their magnitude is learned beside it. Options as
    for LoRA. Raises RequestError.
    """
    return _low_rank(encoder, rank, alpha, dropout, targets, use_dora=True)


def ia3(encoder: nn.Module, targets: str = "all") -> nn.Module:
    """(IA)³ (Liu et al., NeurIPS 2022): what layers give is scaled channel by channel.

    In a feed-forward part that is what its last layer takes, as in the paper; elsewhere it is what each layer gives
    (queries too where one layer makes queries, keys and values). `targets` is attention, mlp or all. Raises
    RequestError.
    """
    found = layers(encoder, targets)
    below = {part: [name for name in found if name.startswith(f"{part}.")] for part in feed_forwards(encoder)}
    last = [names[-1] for names in below.values() if names]
    scaled = [name for name in found if not set(name.split(".")[:-1]) & set(FEED_FORWARD)] + last
    from peft import IA3Config  # takes longer to import than most runs to start

    return _inject(encoder, IA3Config(target_modules=_exactly(scaled), feedforward_modules=_exactly(last)))


def _low_rank(
    encoder: nn.Module, rank: int, alpha: int | None, dropout: float, targets: str, *, use_dora: bool
) -> nn.Module:
    alpha = 2 * rank if alpha is None else alpha
    check_sizes(f"an adapter of rank {rank}, alpha {alpha} and dropout {dropout}", rank, alpha, dropout)
    found = layers(encoder, targets)
    from peft import LoraConfig

    return _inject(
        encoder,
        LoraConfig(
            r=rank,
            lora_alpha=alpha,
            lora_dropout=dropout,
            target_modules=_exactly(found),
            use_dora=use_dora,
        ),
    )


def _inject(encoder: nn.Module, config: Any) -> nn.Module:
    from peft import inject_adapter_in_model

    for module in encoder.modules():
        if hasattr(module, "qkv_bias_separate"):
            # timm's BEiT, EVA and Swin 2 else read the weight of `qkv` and never call it.
            module.qkv_bias_separate = True  # type: ignore[assignment]
    return inject_adapter_in_model(config, encoder.requires_grad_(False))


def _exactly(names: Iterable[str]) -> str:
    """A list would be matched by how names end."""
    return "|".join(re.escape(name) for name in names)
