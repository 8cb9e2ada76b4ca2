"""Adapters: which weights of a pretrained encoder learn, and through what."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import MethodType

from torch import nn

from hsray.errors import RequestError
from hsray.models import check_options
from hsray.strategies.bottleneck import bottleneck
from hsray.strategies.peft_adapters import dora, ia3, lora

Function = Callable[..., nn.Module]
_ADAPTERS: dict[str, Function] = {}


def register_adapter(kind: str) -> Callable[[Function], Function]:
    """Decorator: a function (encoder, **options) → encoder becomes an adapter of this kind.

    It sets what learns (`requires_grad`), and may add modules. Where it stops something from learning, batch-norm
    statistics and all that rests are kept as they are by `adapt`.
    """

    def keep(function: Function) -> Function:
        _ADAPTERS[kind] = function
        return function

    return keep


def adapter_kinds() -> list[str]:
    """All kinds of adapters."""
    return sorted(_ADAPTERS)


def adapter_options(kind: str) -> list[str]:
    """The options of an adapter."""
    return [name for name in inspect.signature(_find(kind)).parameters if name != "encoder"]


def adapt(encoder: nn.Module, kind: str, **options: object) -> nn.Module:
    """The encoder with an adapter. Raises RequestError for an unknown kind or option, or where nothing can be adapted.

    Parameters that are fixed by the encoder itself (positions of sines and cosines) stay fixed.
    """
    check_options(_find(kind), options, f"adapter '{kind}'", own=("encoder",))
    learned = [parameter for parameter in encoder.parameters() if parameter.requires_grad]
    adapted = _find(kind)(encoder, **options)
    if all(parameter.requires_grad for parameter in learned):
        return adapted
    adapted.train = MethodType(_train_what_learns, adapted)  # type: ignore[method-assign]
    return adapted.train()


def trained_parameters(module: nn.Module) -> int:
    """Number of parameters that learn."""
    return sum(parameter.numel() for parameter in module.parameters() if parameter.requires_grad)


@register_adapter("full")
def _full(encoder: nn.Module) -> nn.Module:
    return encoder


@register_adapter("frozen")
def _frozen(encoder: nn.Module) -> nn.Module:
    return encoder.requires_grad_(False)


@register_adapter("bitfit")
def _bitfit(encoder: nn.Module) -> nn.Module:
    """BitFit (Ben Zaken et al., ACL 2022): biases alone, those of norms too."""
    return _only(encoder, {name for name, _ in encoder.named_parameters() if name.endswith("bias")}, "biases")


@register_adapter("norm")
def _norm(encoder: nn.Module) -> nn.Module:
    """Scales and shifts of the norms alone; a norm is known by the name of its class."""
    norms = {
        f"{name}.{parameter}".removeprefix(".")
        for name, module in encoder.named_modules()
        if "norm" in type(module).__name__.lower()
        for parameter, _ in module.named_parameters(recurse=False)
    }
    return _only(encoder, norms, "norms with weights")


register_adapter("lora")(lora)
register_adapter("dora")(dora)
register_adapter("ia3")(ia3)
register_adapter("bottleneck")(bottleneck)


def _only(encoder: nn.Module, names: set[str], what: str) -> nn.Module:
    if not names:
        raise RequestError(f"the encoder has no {what} that could learn", do="use another adapter")
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(parameter.requires_grad and name in names)
    return encoder


def _train_what_learns(encoder: nn.Module, mode: bool = True) -> nn.Module:
    """Batch norms, and whatever holds nothing that learns, stay in eval mode: no statistics move, nothing drops."""
    type(encoder).train(encoder, mode)
    for module in encoder.modules():
        parameters = list(module.parameters())
        rests = parameters and not any(parameter.requires_grad for parameter in parameters)
        if rests or getattr(module, "running_mean", None) is not None:
            nn.Module.train(module, False)
    return encoder


def _find(kind: str) -> Function:
    if kind not in _ADAPTERS:
        raise RequestError(f"there is no adapter '{kind}'", do=f"known: {', '.join(adapter_kinds())}")
    return _ADAPTERS[kind]
