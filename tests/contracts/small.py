"""Small options for every registered model, so that the contracts run in seconds. A model without an entry fails."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from hsray.models import build_decoder, build_encoder, build_stem
from hsray.models.registry import names

BANDS, CLASSES = 12, 3
ODD = (7, 9)  # rows and columns of a map that no stride divides
KINDS = ("stem", "encoder", "decoder")


@dataclass(frozen=True)
class Small:
    """Options, input channels, and inputs that must be refused: (channels, wavelengths or None)."""

    options: dict[str, Any] = field(default_factory=dict)
    channels: int | tuple[int, ...] = BANDS
    refused: tuple[tuple[Any, Tensor | None], ...] = ((0, None),)
    strides: tuple[int, ...] | None = None

    @property
    def nm_L(self) -> Tensor | None:
        return bands(self.channels) if self.channels == BANDS else None


def bands(count: Any) -> Tensor:
    return torch.linspace(450, 900, count)


_UNKNOWN = ((BANDS, None), (BANDS, bands(BANDS - 1)))  # where every band must have a wavelength
_NOT_RGB = ((4, None), (BANDS, bands(BANDS)))
_NO_PYRAMID = ((BANDS, None), ((3,), None))
_NO_MAP = ((0, None), ((3, 8), None))
_TINY = {"size": "tiny", "levels": 2}
_VIT = {"model": "vit_tiny_patch16_224", "depth": 2, "levels": 2, "patch": 4}
_CNN: dict[str, Any] = {"channels": (3, 8, 12), "strides": (1, 4, 8), "refused": _NO_PYRAMID}
_FLAT: dict[str, Any] = {"channels": (3, 16, 16), "strides": (1, 8, 8), "refused": _NO_PYRAMID}

SMALL: dict[str, dict[str, Small]] = {
    "stem": {
        "conv1x1": Small(refused=()),
        "spectral-attention": Small({"width": 16, "depth": 1}, refused=_UNKNOWN),
    },
    "encoder": {
        "hypersl": Small({"width": 16, "depth": 2, "heads": 2}, refused=_UNKNOWN),
        "spectral-pca": Small({"components": 5}, refused=_UNKNOWN),
        "timm": Small({"model": "tf_efficientnet_lite0", "depth": 2}, 3, _NOT_RGB),
        "vit": Small(_VIT, 3, _NOT_RGB),
        "hsi-adapter": Small({**_VIT, "width": 48, "spectral_width": 16, "spectral_depth": 1}, refused=_UNKNOWN),
        "deeplabv3plus-hs3": Small({}, 3, _NOT_RGB),
        "hypersigma-spat": Small(_TINY, refused=()),
        "spectralearth-vit": Small(_TINY, refused=_UNKNOWN),
        "spectralearth-resnet": Small({"size": "tiny"}, refused=_UNKNOWN),
        "dofa": Small(_TINY, refused=_UNKNOWN),
        "copernicusfm": Small(_TINY, refused=_UNKNOWN),
        "panopticon": Small(_TINY, refused=_UNKNOWN),
    },
    "decoder": {
        "unet": Small({"width": 4}, refused=_NO_MAP),
        "runet": Small({"width": 4}, refused=_NO_MAP),
        "deeplabv3plus-hs3": Small(refused=_NO_MAP),
        "mlp": Small({"hidden": 8}, refused=_NO_MAP),
        "fc": Small(refused=_NO_MAP),
        "hypersl-fc": Small(refused=_NO_MAP),
        "hypersl-clf": Small(refused=_NO_MAP),
        "liunet": Small({"kernels": (4, 4, 8, 8)}, 40, _NO_MAP),
        "justo-liunet": Small({"kernels": (4, 4, 8, 8), "kernel_size": 3}, 40, _NO_MAP),
        "minirocket": Small({"features": 168}, refused=_NO_MAP),
        "hdc-minirocket": Small({"features": 168}, refused=_NO_MAP),
        "unet-pyramid": Small({"width": 4}, **(_CNN | {"strides": (1, 2, 4)})),
        "deeplabv3plus": Small({"width": 8}, **_CNN),
        "upernet": Small({"width": 8}, **_FLAT),
        "dpt": Small({"width": 16}, **_FLAT),
        "linear": Small({"maps": 2}, **_FLAT),
    },
}


def registered(kind: str) -> list[str]:
    """Names of hsray's own models of this kind; those of plug-ins answer for themselves."""
    from hsray.models.registry import _find

    return [name for name in names(kind) if _find(kind, name).__module__.startswith("hsray.")]


def build(kind: str, name: str, seed: int = 3) -> Any:
    """The small model of this name; a decoder is fitted on a sample where it wants one."""
    torch.manual_seed(seed)
    small = SMALL[kind][name]
    if kind == "stem":
        return build_stem(name, small.channels, small.nm_L, **small.options)  # type: ignore[arg-type]
    if kind == "encoder":
        return build_encoder(name, small.channels, small.nm_L, **small.options)  # type: ignore[arg-type]
    decoder: Any = build_decoder(name, small.channels, CLASSES, strides=small.strides, **small.options)
    if hasattr(decoder, "prefit"):
        decoder.prefit(torch.rand(decoder.prefit_spectra, small.channels))  # type: ignore[call-overload]
    return decoder


def inputs(kind: str, name: str, count: int = 2) -> tuple[Any, ...]:
    """What its forward takes, of an odd size: spectra, a map, or a pyramid and the size of the image."""
    small, model = SMALL[kind][name], _class(kind, name)
    generator = torch.Generator().manual_seed(5)
    if getattr(model, "takes", "map") in ("vector", "spectrum"):
        return (torch.rand(count, small.channels, generator=generator),)  # type: ignore[call-overload]
    if isinstance(small.channels, int):
        return (torch.rand(count, small.channels, *ODD, generator=generator),)
    assert small.strides is not None
    padded = [-(-side // max(small.strides)) * max(small.strides) for side in ODD]
    maps = [
        torch.rand(count, channels, *(side // stride for side in padded), generator=generator)
        for channels, stride in zip(small.channels, small.strides, strict=True)
    ]
    return maps, ODD


def _class(kind: str, name: str) -> Any:
    from hsray.models.registry import _find

    return _find(kind, name)
