"""What every module promises, whatever it is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import torch
from safetensors.torch import load, save
from torch import Tensor, nn

Run = Callable[[Any], Any]


def tensors_of(output: Any) -> list[Tensor]:
    return [output] if isinstance(output, Tensor) else list(output)


def equal(one: Any, other: Any) -> bool:
    return all(torch.equal(a, b) for a, b in zip(tensors_of(one), tensors_of(other), strict=True))


@torch.no_grad()
def check_repeats(first: Any, second: Any, run: Run) -> None:
    """Two models of one seed are equal, and a model in use draws nothing."""
    assert first.state_dict().keys() == second.state_dict().keys()
    assert all(torch.equal(tensor, second.state_dict()[name]) for name, tensor in first.state_dict().items())
    assert equal(run(first.eval()), run(second.eval())) and equal(run(first), run(first))


@torch.no_grad()
def check_file(first: Any, other: Any, run: Run) -> None:
    """What a final writes (safetensors) goes into another model of the same kind, which then gives the same."""
    other.load_state_dict(load(save(first.state_dict())))
    assert equal(run(first.eval()), run(other.eval()))


def check_alone(model: Any, run_of: Callable[[Any, int], Any]) -> None:
    """One image alone gives what it gives among others."""
    with torch.no_grad():
        for one, two in zip(tensors_of(run_of(model.eval(), 1)), tensors_of(run_of(model, 2)), strict=True):
            torch.testing.assert_close(one, two[:1], rtol=1e-3, atol=1e-4)


def train_once(model: nn.Module, run: Run) -> set[str]:
    """Two optimiser steps on a random loss; returns the names of what learns and got a gradient in the second.

    Where nothing learns, the loss still has a gradient: that of what stands in front, in `run`.
    """
    learning = {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}
    optimiser = torch.optim.AdamW(learning.values(), lr=1e-2, weight_decay=0.1) if learning else None
    reached: set[str] = set()
    for _ in range(2):
        model.train()
        model.zero_grad()
        outputs = tensors_of(run(model))
        assert all(torch.isfinite(output).all() for output in outputs)
        losses = [(output * torch.randn_like(output)).mean() for output in outputs if output.requires_grad]
        torch.stack(losses).sum().backward()
        reached = {name for name, parameter in learning.items() if parameter.grad is not None}
        if optimiser is not None:
            optimiser.step()
    return reached


def unchanged(before: dict[str, Tensor], model: nn.Module, but: Iterable[str]) -> list[str]:
    """Names of tensors that moved and should not have."""
    after = model.state_dict()
    return [name for name in before if name not in set(but) and not torch.equal(before[name], after[name])]
