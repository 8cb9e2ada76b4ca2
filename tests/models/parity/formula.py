"""Weights and inputs that follow from a name and a shape alone, so that no file has to hold them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

# What a model computes itself and no formula may change: fixed kernels, positions, and what is fitted on data.
CONSTANT = ("kernels", "prefit", "div_term", "pe", "num_batches_tracked", "biases_")


def uniform(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers in 0-1, float32, seeded by the name."""
    return _generator(name).random(shape, dtype=np.float32)


def is_constant(name: str) -> bool:
    return name.rsplit(".", 1)[-1].startswith(CONSTANT)


def weight(name: str, shape: tuple[int, ...]) -> Tensor:
    """The tensor of this name: sizes such that activations neither vanish nor explode, variances positive."""
    last = name.rsplit(".", 1)[-1]
    draw = _generator(name)
    if last == "running_var":
        return torch.from_numpy(0.5 + draw.random(shape, dtype=np.float32))
    normal = draw.standard_normal(shape, dtype=np.float32)
    if len(shape) < 2:
        # The last norm of a residual block is small, or a hundred layers would blow up.
        centre = 0.3 if name.endswith("bn3.weight") else float(last == "weight")
        return torch.from_numpy(np.float32(centre) + np.float32(0.1) * normal)
    fan_in = int(np.prod(shape[1:]))
    return torch.from_numpy(normal * np.float32(np.sqrt(2 / fan_in)))


def weights(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """A state without the constants."""
    return {name: weight(name, tuple(shape)) for name, shape in shapes.items() if not is_constant(name)}


def sampled(output: np.ndarray, name: str, count: int = 600) -> np.ndarray:
    """`count` entries of an output, the same for a name and a size; all of a small one."""
    flat = output.reshape(-1)
    if flat.size <= count:
        return flat
    return flat[np.sort(_generator(f"{name} places").choice(flat.size, count, replace=False))]


def _generator(name: str) -> np.random.Generator:
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "little")
    return np.random.Generator(np.random.PCG64(seed))
