"""From an experiment file to its cells: one for every combination of the axes, with a study of its own."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from hsray.datasets import CubeStore, open_store, training_subset
from hsray.digest import digest
from hsray.errors import RequestError, problems
from hsray.experiment import Dimension, Experiment
from hsray.strategies.adapters import adapter_kinds
from hsray.strategies.assembly import check_assembly
from hsray.strategies.strategy import STRATEGY_PARTS, Strategy, strategy
from hsray.strategies.weights import weights_sha256
from hsray.training.config import TRAINING_DIMENSIONS, RunConfig, Task, Training
from pydantic import ValidationError

OWN_AXES = ("dataset", "strategy", "fraction")
BUDGET_DIMENSIONS = ("epochs", "patience")


@dataclass(frozen=True)
class Cell:
    """One entry of the comparison: one value of every axis."""

    task: Task
    store: CubeStore
    data_root: Path
    strategy: Strategy
    axes: dict[str, Any]
    values: dict[str, Any]
    space: dict[str, Dimension]

    @property
    def searches_fraction(self) -> bool:
        """Then the study has two objectives: score up, labelled images down."""
        return "fraction" in self.space

    def config(self, sampled: dict[str, Any], seed: int, *, test: bool = False) -> RunConfig:
        """The resolved configuration of one run of this cell."""
        values = {**self.values, **sampled}
        training = {**self.strategy.training, **{k: v for k, v in values.items() if k in TRAINING_DIMENSIONS}}
        return RunConfig(
            task=self.task,
            dataset=str(self.store.path),
            data_root=str(self.data_root),
            strategy=self.strategy.with_values(values),
            fraction=values.get("fraction", self.axes.get("fraction", 1.0)),
            seed=seed,
            training=Training(**training),
            test=test,
        )

    @cached_property
    def name(self) -> str:
        """The axis values, readable: `dataset=hyko2,strategy=runet,fraction=0.1`."""
        return ",".join(f"{axis}={_slug(value)}" for axis, value in self.axes.items())

    @cached_property
    def id(self) -> str:
        """The name and a hash of all that defines the cell; how many trials and seeds it gets does not."""
        definition = {
            "axes": self.axes,
            "data": self.store.fingerprint,
            "strategy": self.strategy.model_dump(mode="json"),
            "weights": weights_sha256(self._weights) if self._weights else None,
            "values": self.values,
            "space": {name: dimension.model_dump(mode="json") for name, dimension in self.space.items()},
        }
        return f"{self.name}@{digest(definition)}"

    @property
    def _weights(self) -> str | None:
        return self.strategy.encoder.weights if self.strategy.encoder is not None else None


def cells(experiment: Experiment, data_root: Path, where: str = "experiment") -> list[Cell]:
    """All cells, in the order of the file. Equal ones (an adapter axis over a strategy without one) are merged.

    Raises:
        RequestError: all problems found: datasets, strategies, dimensions, values, fractions that leave no image.
    """
    found: list[RequestError] = []
    stores = _resolve(
        experiment.axes["dataset"], lambda name: open_store(str(name), data_root), found, "dataset", where
    )
    recipes = _resolve(experiment.axes["strategy"], strategy, found, "strategy", where)
    found += _dimension_problems(experiment, [recipe for recipe in recipes if recipe], where)
    if found:
        raise problems(found, f"{where} cannot be run")
    resolved: dict[str, Cell] = {}
    for combination in itertools.product(*experiment.axes.values()):
        chosen = dict(zip(experiment.axes, combination, strict=True))
        cell = _cell(
            experiment,
            chosen,
            stores[experiment.axes["dataset"].index(chosen["dataset"])],
            recipes[experiment.axes["strategy"].index(chosen["strategy"])],
            data_root,
        )
        resolved.setdefault(cell.name, cell)
    for cell in resolved.values():
        found += _cell_problems(cell, where)
    if not found:
        found = _assembly_problems(list(resolved.values()), where)
    if found:
        raise problems(_unique(found), f"{where} cannot be run")
    return list(resolved.values())


def _cell(experiment: Experiment, chosen: dict[str, Any], store: CubeStore, recipe: Strategy, root: Path) -> Cell:
    def applies(name: str) -> bool:
        return name in OWN_AXES or name in TRAINING_DIMENSIONS or recipe.has(name)

    axes = {name: value for name, value in chosen.items() if applies(name)}
    axes |= {"dataset": store.name, "strategy": recipe.name}
    budget = {"epochs": experiment.budget.epochs, "patience": experiment.budget.patience}
    values = {**budget, **experiment.fixed, **{k: v for k, v in axes.items() if k not in ("dataset", "strategy")}}
    values = {name: value for name, value in values.items() if applies(name)}
    space = {name: dimension for name, dimension in experiment.search.items() if applies(name)}
    # A condition on something this strategy does not have can never hold.
    space = {n: d for n, d in space.items() if all(c in space or c in values for c in d.when or {})}
    return Cell(experiment.task, store, root, recipe, axes, values, space)


def _resolve(requests: list[Any], find, found: list[RequestError], axis: str, where: str) -> list[Any]:
    resolved = []
    for number, request in enumerate(requests):
        try:
            resolved.append(find(request))
        except RequestError as error:
            place = f"{where}: axes.{axis}.{number}" + (f" ({error.where})" if error.where else "")
            found.append(RequestError(error.what, where=place, do=error.do))
            resolved.append(None)
    return resolved


def _dimension_problems(experiment: Experiment, recipes: list[Strategy], where: str) -> list[RequestError]:
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
    fixed = [experiment.fixed["adapter"]] if "adapter" in experiment.fixed else []
    for kind in [*searched, *experiment.axes.get("adapter", []), *fixed]:
        if kind not in adapter_kinds():
            do = f"known: {', '.join(adapter_kinds())}"
            found.append(RequestError(f"there is no adapter '{kind}'", where=f"{where}: adapter", do=do))
    return found


def _cell_problems(cell: Cell, where: str) -> list[RequestError]:
    """Try what can be tried without training: values of hyperparameters, and fractions."""
    found = []
    trials: list[dict[str, Any]] = [{}]
    for name, dimension in cell.space.items():
        ends = dimension.choice or list(dimension.log or dimension.uniform or dimension.whole or ())
        trials += [{name: value} for value in ends]
    for sampled in trials:
        try:
            config = cell.config(sampled, seed=0)
            training_subset(cell.store, config.fraction, 0)
        except ValidationError as error:
            for fault in error.errors():
                key = ".".join(map(str, fault["loc"]))
                found.append(RequestError(f"{key}: {fault['msg']} (got {fault['input']!r})", where=f"{where}: {key}"))
        except RequestError as error:
            found.append(RequestError(error.what, where=f"{where}: {error.where or cell.name}", do=error.do))
    return found


def _assembly_problems(found: list[Cell], where: str) -> list[RequestError]:
    problems_found = []
    tried = {(cell.strategy.with_values(cell.values).model_dump_json(), cell.store.path): cell for cell in found}
    for cell in tried.values():
        try:
            check_assembly(cell.strategy.with_values(cell.values), cell.task, cell.store)
        except RequestError as error:
            problems_found.append(RequestError(error.what, where=f"{where}: {error.where or cell.name}", do=error.do))
    return problems_found


def _unique(found: list[RequestError]) -> list[RequestError]:
    return list({str(problem): problem for problem in found}.values())


def _slug(value: Any) -> str:
    return re.sub(r"[^A-Za-z0-9._:+-]", "-", str(value))
