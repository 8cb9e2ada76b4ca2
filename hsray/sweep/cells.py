"""From an experiment file to its cells: one for every combination of the axes, with a study of its own."""

from __future__ import annotations

import itertools
import re
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsray.axes import followed, left_out
from hsray.datasets import CubeStore, open_store
from hsray.digest import digest
from hsray.errors import RequestError, problems
from hsray.experiment import Dimension, Experiment, Resources
from hsray.models import accepted_options
from hsray.roots import inner
from hsray.strategies.provenance import provenance
from hsray.strategies.strategy import Strategy, strategy
from hsray.strategies.weights import weights_sha256
from hsray.sweep.checks import OWN_AXES, cell_problems, dimension_problems
from hsray.training.config import ENCODER_DIMENSIONS, TRAINING_DIMENSIONS, RunConfig, Task, Training

if TYPE_CHECKING:
    from hsray.sweep.checks import Tried


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
    bracket: tuple[int, int] | None
    resources: Resources = field(default_factory=Resources)
    attempt: int = 1  # a cell that is repeated (`hsray redo`) is a cell of its own
    final_attempts: dict[int, int] = field(default_factory=dict)  # by seed; those that were repeated

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
            "task": self.task,
            "axes": self.axes,
            "bracket": self.bracket,
            "data": self.store.fingerprint,
            "strategy": self.strategy.model_dump(mode="json", exclude={"encoder": {"weights"}}),
            "weights": weights_sha256(self._weights) if self._weights else None,
            "values": self.values,
            "space": {name: dimension.model_dump(mode="json") for name, dimension in self.space.items()},
        }
        return f"{self.name}@{digest(definition)}{suffix(self.attempt)}"

    def folder(self, sweep_folder: Path) -> Path:
        """Where its runs lie."""
        return sweep_folder / "cells" / self.id

    def equals(self, other: Cell) -> bool:
        """The same in everything but its values' spelling."""
        mine, its = ((c.store.path, c.strategy, c.values, c.space) for c in (self, other))
        return mine == its

    @property
    def _weights(self) -> str | None:
        return self.strategy.encoder.weights if self.strategy.encoder is not None else None


def suffix(attempt: int) -> str:
    """What tells a repeated cell's or final's folder and key from the first: `~2`, and nothing of the first."""
    return f"~{attempt}" if attempt > 1 else ""


def cells(experiment: Experiment, data_root: Path, where: str = "experiment", tried: Tried | None = None) -> list[Cell]:
    """All cells, in the order of the file. Equal ones (an adapter axis over a strategy without one) are merged.

    Every model is built and run once; `tried` is called with each, its cell and its configuration.

    Raises:
        RequestError: all problems found: datasets, strategies, dimensions, values, fractions that leave no image,
            parts and weights that do not fit.
    """
    found: list[RequestError] = []
    axes = experiment.axes
    stores = _resolve(axes["dataset"], lambda name: _store(str(name), data_root), found, "dataset", where)
    recipes = _resolve(axes["strategy"], _recipe, found, "strategy", where)
    misnamed = dimension_problems(experiment, [recipe for recipe in recipes if recipe], where)
    resolved: dict[str, Cell] = {}
    for combination in itertools.product(*axes.values()):
        chosen = dict(zip(axes, combination, strict=True))
        store = stores[axes["dataset"].index(chosen["dataset"])]
        recipe = recipes[axes["strategy"].index(chosen["strategy"])]
        if store is None or recipe is None or left_out(experiment.without, chosen):
            continue
        cell = _cell(experiment, chosen, store, recipe, data_root)
        if not cell.equals(resolved.setdefault(cell.name, cell)):
            do = "give datasets and strategies names of their own (`name: …` in the recipe)"
            found.append(RequestError(f"two different cells are called '{cell.name}'", where=f"{where}: axes", do=do))
    found += misnamed or cell_problems(list(resolved.values()), where, tried)
    if found:
        raise problems(list({str(problem): problem for problem in found}.values()), f"{where} cannot be run")
    return list(resolved.values())


def _cell(experiment: Experiment, chosen: dict[str, Any], store: CubeStore, recipe: Strategy, root: Path) -> Cell:
    def applies(name: str) -> bool:
        if name in ENCODER_DIMENSIONS:
            return recipe.pretrained
        return name in OWN_AXES or name in TRAINING_DIMENSIONS or recipe.has(name)

    axes = {name: value for name, value in chosen.items() if applies(name)}
    axes |= {"dataset": store.name, "strategy": recipe.name}
    budget = {"epochs": experiment.budget.epochs, "patience": experiment.budget.patience}
    fixed = {name: followed(value, chosen) for name, value in experiment.fixed.items()}
    values = {**budget, **fixed, **{k: v for k, v in axes.items() if k not in ("dataset", "strategy")}}
    values = {name: value for name, value in values.items() if applies(name)}
    space = {name: dimension for name, dimension in experiment.search.items() if applies(name)}
    # A condition on something this strategy does not have can never hold.
    space = {n: d for n, d in space.items() if all(c in space or c in values for c in d.when or {})}
    rungs = experiment.budget
    bracket = (rungs.first_rung, rungs.factor) if rungs.halving and "fraction" not in space else None
    return Cell(experiment.task, store, root, recipe, axes, values, space, bracket, experiment.resources.of(chosen))


def _store(name: str, data_root: Path) -> CubeStore:
    try:
        inner(name)
    except ValueError as error:
        raise RequestError(str(error), where=name[:100]) from None
    return open_store(name, data_root)


def _recipe(request: Any) -> Strategy:
    found = strategy(request)
    for kind in ("stem", "encoder", "decoder"):
        if (part := getattr(found, kind)) is not None:
            accepted_options(kind, part.name)  # raises where there is none of this name
    if found.encoder is not None:
        provenance(found.encoder)  # raises where its weights are not there, or what is told of them cannot be read
    return found


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


def _slug(value: Any) -> str:
    return re.sub(r"[^A-Za-z0-9._:+-]", "-", str(value))
