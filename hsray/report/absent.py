"""How much is not there: of what the experiment file plans, where it is known, and of what MLflow has."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import Any

import polars as pl
import yaml

from hsray.axes import axis_name, left_out
from hsray.errors import RequestError
from hsray.experiment import Experiment, parse_experiment

MOST_COMBINATIONS = 10_000  # of more it is not said which are there


@dataclass(frozen=True)
class Plan:
    """The combinations of axis values that an experiment file asks finals of, and how many seeds each is to have.

    A cell lacks the axes that its strategy has no use for, and stands for all combinations that agree in the others.
    """

    combinations: list[dict[str, str]]
    seeds: int

    def without_finals(self, cells: pl.DataFrame) -> int:
        """How many combinations no cell stands for."""
        there = {frozenset(_cell_axes(axes).items()) for axes in cells["axes"]}
        kinds = {frozenset(name for name, _ in axes) for axes in there}
        return sum(
            not any(frozenset((name, one.get(name)) for name in kind) in there for kind in kinds)
            for one in self.combinations
        )

    def seeds_of_planned(self, cells: pl.DataFrame) -> list[int]:
        """The seeds of the cells that stand for a combination."""
        known = {item for one in self.combinations for item in one.items()}
        return [seeds for axes, seeds in cells.select("axes", "seeds").iter_rows() if _cell_axes(axes).items() <= known]


def plan_of(experiment_file: str | None, runs: pl.DataFrame) -> Plan | None:
    """What the file plans; None where it is not there or no experiment, where the fraction is searched (there is no
    table of finals then), and where it names datasets otherwise than the runs do.
    """
    try:
        content = yaml.safe_load(experiment_file or "")
        experiment = parse_experiment(content) if isinstance(content, dict) else None
    except (yaml.YAMLError, RequestError, ValueError, RecursionError):
        return None
    if experiment is None or "fraction" in experiment.search:
        return None
    names = {_word("dataset", value) for value in experiment.axes["dataset"]}
    if not set(runs["dataset"].drop_nulls()) <= names:
        return None
    if math.prod(map(len, experiment.axes.values())) > MOST_COMBINATIONS:
        return None
    return Plan(_combinations(experiment) if experiment.final.seeds else [], experiment.final.seeds)


def missing_sentence(runs: pl.DataFrame, cells: pl.DataFrame, experiment_file: str | None = None) -> str:
    """Cells without finals or with too few, failed and unfinished runs, runs that cannot be used.

    `runs` as `load` gives them, `cells` as in `Content`. That nothing is missing is said of a known plan alone.
    """
    usable = runs.filter(pl.col("problem").is_null())
    plan = plan_of(experiment_file, usable)
    parts = [*_cells_told(usable, cells, plan), *_runs_told(runs)]
    if parts:
        return f"{'; '.join(parts)}."
    if plan is None:
        finals = ", and every cell among them has finals" if len(cells) else ""
        return f"Of the runs in MLflow none failed or is unfinished{finals}; whether more was planned is not known."
    if not plan.seeds:
        return "Nothing is missing: no run failed or is unfinished, and no finals were planned."
    seeds = "its final" if plan.seeds == 1 else f"finals under {plan.seeds} seeds"
    return f"Nothing is missing: every planned cell has {seeds}, and no run failed or is unfinished."


def _cells_told(usable: pl.DataFrame, cells: pl.DataFrame, plan: Plan | None) -> list[str]:
    parts = []
    seeds = cells["seeds"].to_list() if plan is None else plan.seeds_of_planned(cells)
    most = max(seeds, default=0) if plan is None else plan.seeds
    few = [count for count in seeds if count < most]
    if plan is None:
        names = usable.filter(pl.col("axes").str.contains('"fraction"', literal=True))["cell_name"].n_unique()
        if names > len(cells):
            parts.append(f"{names - len(cells)} of {names} cells have no complete final")
    elif missing := plan.without_finals(cells):
        parts.append(f"{missing} of {len(plan.combinations)} planned combinations have no complete final")
    if few:
        than = "than others" if plan is None else "than planned"
        fewest = f"{min(few)}" if min(few) == max(few) else f"{min(few)} to {max(few)}"
        have = "cell has" if len(few) == 1 else "cells have"
        parts.append(f"{len(few)} {have} fewer seeds {than} ({fewest} of {most})")
    return parts


def _runs_told(runs: pl.DataFrame) -> list[str]:
    parts = []
    states = dict(runs.filter(pl.col("problem").is_null()).group_by("state").len().iter_rows())
    for state, one, several in (
        ("failed", "failed", "failed"), ("killed", "was killed", "were killed"), ("running", "has", "have"),
    ):  # fmt: skip
        if count := states.get(state):
            ended = " not ended" if state == "running" else ""
            parts.append(f"{count} run {one}{ended}" if count == 1 else f"{count} runs {several}{ended}")
    if unusable := runs["problem"].count():
        parts.append(f"{unusable} {'run' if unusable == 1 else 'runs'} cannot be used")
    return parts


def _combinations(experiment: Experiment) -> list[dict[str, str]]:
    axes = experiment.axes
    found = [dict(zip(axes, values, strict=True)) for values in itertools.product(*axes.values())]
    wanted = [one for one in found if not left_out(experiment.without, one)]
    return [{name: _word(name, value) for name, value in one.items()} for one in wanted]


def _cell_axes(axes: str) -> dict[str, str]:
    return {name: _word(name, value) for name, value in json.loads(axes).items()}


def _word(axis: str, value: Any) -> str:
    """1 and 1.0 are one value, and a dataset that is given as a folder goes by the folder's name."""
    name = f"{value:g}" if isinstance(value, float) else axis_name(value)
    return name.rstrip("/").rpartition("/")[2] if axis == "dataset" else name
