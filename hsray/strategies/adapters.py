"""Adapters: which weights of a pretrained encoder learn, and through what."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MethodType
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hsray.errors import RequestError
from hsray.models import check_options

_ADAPTERS: dict[str, Callable[..., nn.Module]] = {}


def register_adapter(kind: str) -> Callable[[Callable[..., nn.Module]], Callable[..., nn.Module]]:
    """Decorator: a function (encoder, **options) → encoder becomes an adapter of this kind."""

    def keep(function: Callable[..., nn.Module]) -> Callable[..., nn.Module]:
        _ADAPTERS[kind] = function
        return function

    return keep


def adapter_kinds() -> list[str]:
    """All kinds of adapters."""
    return sorted(_ADAPTERS)


def adapter_options(kind: str) -> list[str]:
    """The options of an adapter."""
    return [name for name in inspect.signature(_find(kind)).parameters if name != "encoder"]


def adapt(encoder: nn.Module, kind: str, **options: Any) -> nn.Module:
    """The encoder with an adapter. Raises RequestError for an unknown kind or option."""
    check_options(_find(kind), options, f"adapter '{kind}'", own=("encoder",))
    return _find(kind)(encoder, **options)


def trained_parameters(module: nn.Module) -> int:
    """Number of parameters that learn."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@register_adapter("full")
def _full(encoder: nn.Module) -> nn.Module:
    return encoder.requires_grad_(True)


@register_adapter("frozen")
def _frozen(encoder: nn.Module) -> nn.Module:
    return _resting(encoder.requires_grad_(False))


@register_adapter("lora")
def _lora(encoder: nn.Module, rank: int = 8, alpha: int | None = None, dropout: float = 0.0) -> nn.Module:
    """LoRA (Hu et al. 2022) on the encoder's `adaptable` modules; peft cannot adapt grouped convolutions."""
    if not isinstance(rank, int) or rank < 1 or not 0 <= dropout < 1:
        raise RequestError(
            f"LoRA of rank {rank} and dropout {dropout} cannot be built",
            do="give a rank of at least 1 and a dropout from 0 to below 1",
        )
    from peft import LoraConfig, inject_adapter_in_model  # takes longer to import than most runs to start

    targets = [
        name
        for name, module in encoder.named_modules()
        if name.rsplit(".", 1)[-1] in encoder.adaptable  # type: ignore[operator]
        and isinstance(module, nn.Linear | nn.Conv2d)
        and getattr(module, "groups", 1) == 1
    ]
    if not targets:
        raise RequestError("the encoder has no module that LoRA can adapt", do="use another adapter")
    config = LoraConfig(r=rank, lora_alpha=alpha or 2 * rank, lora_dropout=dropout, target_modules=targets)
    return _resting(inject_adapter_in_model(config, encoder.requires_grad_(False)))


def _resting(encoder: nn.Module) -> nn.Module:
    """Whatever part of the encoder learns nothing stays in eval mode, so that batch-norm statistics do not move."""
    encoder.train = MethodType(_train_what_learns, encoder)  # type: ignore[method-assign]
    return encoder.train()


def _train_what_learns(encoder: nn.Module, mode: bool = True) -> nn.Module:
    type(encoder).train(encoder, mode)
    for module in encoder.modules():
        rests = isinstance(module, _BatchNorm) or next(module.parameters(), None) is not None
        if rests and not any(parameter.requires_grad for parameter in module.parameters()):
            nn.Module.train(module, False)
    return encoder


def _find(kind: str) -> Callable[..., nn.Module]:
    if kind not in _ADAPTERS:
        raise RequestError(f"there is no adapter '{kind}'", do=f"known: {', '.join(adapter_kinds())}")
    return _ADAPTERS[kind]
