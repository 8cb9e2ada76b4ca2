"""The registries of architectures: stems, encoders and decoders, found by name, extended by entry points."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from importlib.metadata import entry_points
from typing import Any, TypeVar

from torch import Tensor, nn

from hsray.errors import RequestError

ModuleClass = TypeVar("ModuleClass", bound=type[nn.Module])

_TABLES: dict[str, dict[str, type[nn.Module]]] = {"stem": {}, "encoder": {}, "decoder": {}}
_NOT_OPTIONS = {
    "stem": ("in_channels", "wavelengths_nm"),
    "encoder": ("in_channels", "wavelengths_nm"),
    "decoder": ("in_channels", "num_classes", "strides"),
}


def register_stem(name: str) -> Callable[[ModuleClass], ModuleClass]:
    """Class decorator: make a stem known under `name`. A stem leads view channels to what an encoder takes."""
    return _register("stem", name)


def register_encoder(name: str) -> Callable[[ModuleClass], ModuleClass]:
    """Class decorator: make an encoder known under `name`."""
    return _register("encoder", name)


def register_decoder(name: str) -> Callable[[ModuleClass], ModuleClass]:
    """Class decorator: make a decoder known under `name`."""
    return _register("decoder", name)


def encoder(name: str) -> type[nn.Module]:
    """The encoder class of this name. Raises RequestError, listing those that exist."""
    return _find("encoder", name)


def decoder(name: str) -> type[nn.Module]:
    """The decoder class of this name. Raises RequestError, listing those that exist."""
    return _find("decoder", name)


def build_encoder(name: str, in_channels: int, wavelengths_nm: Tensor | None = None, **options: Any) -> nn.Module:
    """An encoder for inputs of `in_channels`, whose bands lie at `wavelengths_nm` (L,). Raises RequestError."""
    found = encoder(name)
    check_options(found, options, f"encoder '{name}'", own=_NOT_OPTIONS["encoder"])
    return found(in_channels, wavelengths_nm, **options)


def build_decoder(
    name: str,
    in_channels: int | tuple[int, ...],
    num_classes: int,
    *,
    strides: tuple[int, ...] | None = None,
    **options: Any,
) -> nn.Module:
    """A decoder from maps, a pyramid or vectors of `in_channels` to `num_classes` logits.

    `strides` says by how much each map of a pyramid is smaller than the image; decoders that care take it as an
    argument. Raises RequestError.
    """
    found = decoder(name)
    check_options(found, options, f"decoder '{name}'", own=_NOT_OPTIONS["decoder"])
    extra = {"strides": strides} if "strides" in inspect.signature(found).parameters else {}
    return found(in_channels, num_classes, **extra, **options)


def build_stem(name: str, in_channels: int, wavelengths_nm: Tensor | None = None, **options: Any) -> nn.Module:
    """A stem from `in_channels` to its `out_channels`; `wavelengths_nm` (L,) for those that take them. Raises
    RequestError.
    """
    found = _find("stem", name)
    check_options(found, options, f"stem '{name}'", own=_NOT_OPTIONS["stem"])
    extra = {"wavelengths_nm": wavelengths_nm} if "wavelengths_nm" in inspect.signature(found).parameters else {}
    return found(in_channels, **extra, **options)


def names(kind: str) -> list[str]:
    """Names of all stems, encoders or decoders, those of other packages included."""
    return sorted({*_TABLES[kind], *(point.name for point in entry_points(group=f"hsray.{kind}s"))})


def accepted_options(kind: str, name: str) -> list[str]:
    """The options of a stem, encoder or decoder, from its signature."""
    return [option for option in inspect.signature(_find(kind, name)).parameters if option not in _NOT_OPTIONS[kind]]


def check_options(target: Callable[..., Any], options: dict[str, Any], what: str, own: tuple[str, ...]) -> None:
    """Refuse options that `target` does not take; `own` are the parameters that are not options."""
    parameters = inspect.signature(target).parameters
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return
    accepted = [name for name in parameters if name not in own]
    unknown = sorted(set(options) - set(accepted))
    if unknown:
        raise RequestError(
            f"{what} has no option {', '.join(unknown)}",
            do=f"use one of: {', '.join(accepted)}" if accepted else "leave the options out; it has none",
        )


def _register(kind: str, name: str) -> Callable[[ModuleClass], ModuleClass]:
    def keep(cls: ModuleClass) -> ModuleClass:
        known = _TABLES[kind].setdefault(name, cls)
        if (known.__module__, known.__qualname__) != (cls.__module__, cls.__qualname__):
            raise RequestError(
                f"two {kind}s are called '{name}': {known.__module__}.{known.__qualname__} and "
                f"{cls.__module__}.{cls.__qualname__}",
                do="give one of them another name",
            )
        return cls

    return keep


def _find(kind: str, name: str) -> type[nn.Module]:
    table = _TABLES[kind]
    if name not in table:
        for point in entry_points(group=f"hsray.{kind}s", name=name):
            _register(kind, name)(point.load())
    if name not in table:
        raise RequestError(f"there is no {kind} '{name}'", do=f"use one of: {', '.join(names(kind))}")
    return table[name]
