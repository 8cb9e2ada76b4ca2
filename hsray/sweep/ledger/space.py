"""A cell's search space, walked in its order: a dimension is there where its condition holds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from hsray.experiment import Dimension
from hsray.sweep.cells import Cell


def walk(cell: Cell, draw: Callable[[str, Dimension], Any]) -> dict[str, Any]:
    """The values of a trial: `draw` gives that of each dimension which applies under those drawn before it."""
    values: dict[str, Any] = {}
    for name, dimension in cell.space.items():
        known = {**cell.axes, **cell.values, **values}
        if all(known.get(condition) == wanted for condition, wanted in (dimension.when or {}).items()):
            values[name] = draw(name, dimension)
    return values


def distribution(dimension: Dimension) -> BaseDistribution:
    """What Optuna calls a dimension."""
    if dimension.choice is not None:
        return CategoricalDistribution(dimension.choice)
    if dimension.whole is not None:
        return IntDistribution(*dimension.whole)
    low, high = dimension.log or dimension.uniform or (0.0, 1.0)
    return FloatDistribution(low, high, log=dimension.log is not None)
