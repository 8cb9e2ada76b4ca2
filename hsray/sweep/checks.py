"""What can be found wrong with a sweep without training: names, values, fractions, parts that do not fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from hsray.axes import follows
from hsray.datasets import training_subset
from hsray.errors import RequestError, invalid_values
from hsray.experiment import Experiment
from hsray.strategies.adapters import adapter_kinds
from hsray.strategies.assembly import check_assembly
from hsray.strategies.strategy import STRATEGY_PARTS, Strategy
from hsray.training.config import TRAINING_DIMENSIONS

if TYPE_CHECKING:
    from hsray.strategies.assembly import TransferModel
    from hsray.sweep.cells import Cell
    from hsray.training.config import RunConfig

    Tried = Callable[[Cell, RunConfig, TransferModel], None]

OWN_AXES = ("dataset", "strategy", "fraction")
BUDGET_DIMENSIONS = ("epochs", "patience")


def dimension_problems(experiment: Experiment, recipes: list[Strategy], where: str) -> list[RequestError]:
    """Hyperparameters that nothing has, or that stand in the wrong place."""
    found = []
    for part in ("axes", "search", "fixed"):
        for name in getattr(experiment, part):
            place = f"{where}: {part}.{name}"
            if name in BUDGET_DIMENSIONS and part != "axes":
                found.append(RequestError(f"{name} belongs to the budget", where=place, do=f"write budget.{name}"))
            elif name in OWN_AXES:
                if part != "axes" and name != "fraction":
                    found.append(RequestError(f"{name} is an axis", where=place, do=f"write it as axes.{name}"))
            elif name not in TRAINING_DIMENSIONS:
                if name.split(".")[0] not in (*STRATEGY_PARTS, *adapter_kinds()):
                    parts = ", ".join((*STRATEGY_PARTS, *adapter_kinds()))
                    known = f"{', '.join(TRAINING_DIMENSIONS)}, or an option of {parts}"
                    found.append(RequestError(f"unknown hyperparameter '{name}'", where=place, do=f"known: {known}"))
                elif recipes and not any(recipe.has(name) for recipe in recipes):
                    found.append(
                        RequestError(
                            f"no strategy of this file has '{name}'", where=place, do="remove it, or rename it"
                        )
                    )
    searched = experiment.search["adapter"].choice or [] if "adapter" in experiment.search else []
    adapter = experiment.fixed.get("adapter", [])
    fixed = list(follows(adapter)[1].values()) or ([adapter] if adapter else [])
    for kind in [*searched, *experiment.axes.get("adapter", []), *fixed]:
        if kind not in adapter_kinds():
            do = f"known: {', '.join(adapter_kinds())}"
            found.append(RequestError(f"there is no adapter '{kind}'", where=f"{where}: adapter", do=do))
    return found


def cell_problems(cells: list[Cell], where: str, tried: Tried | None = None) -> list[RequestError]:
    """Try the ends of every dimension: values, fractions, and whether the model can be built and run.

    `tried` gets every model that was, with the cell and the configuration.
    """
    found: list[RequestError] = []
    built: set[str] = set()
    for cell in cells:
        for sampled in ends(cell):
            try:
                config = cell.config(sampled, seed=0)
                training_subset(cell.store, config.fraction, 0)
                recipe = f"{cell.store.path} {config.strategy.model_dump_json()}"
                if recipe not in built:
                    built.add(recipe)
                    model = check_assembly(config.strategy, cell.task, cell.store)
                    if tried is not None:
                        tried(cell, config, model)
            except ValidationError as error:
                found += invalid_values(error, where)
            except RequestError as error:
                found.append(RequestError(error.what, where=f"{where}: {error.where or cell.name}", do=error.do))
    return found


def ends(cell: Cell) -> Iterator[dict[str, Any]]:
    """Nothing sampled, then one dimension at a time at its ends, with the conditions under which it exists."""
    yield {}
    for name, dimension in cell.space.items():
        for value in dimension.choice or dimension.log or dimension.uniform or dimension.whole or ():
            yield {**(dimension.when or {}), name: value}
