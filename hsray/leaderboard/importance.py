"""Which hyperparameters mattered in a cell's search, and how the score answers to learning rate and adapter."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hsray.leaderboard.chosen import CELL, CONTAMINATED, NAMES, PLACE, Runs
from hsray.leaderboard.hyperparameters import (
    Params,
    as_numbers,
    parallel_coordinates,
    response,
    searched_in,
    trial_params,
)
from hsray.leaderboard.sheet import Column, Sheet

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

__all__ = ["FEWEST", "importance", "parallel_coordinates"]

FEWEST = 15  # trials with a score; the best third are then five
TOP = 5  # PED-ANOVA's authors want at least so many trials in the top quantile
QUANTILE = 0.1
CHOICES = 5  # numbers that take at most so many values are choices


def importance(runs: Runs, params: Params) -> list[Sheet]:
    """Three sheets: importance of each searched hyperparameter in its cell (percent, summing to 100; PED-ANOVA,
    arXiv 2304.10255, by Optuna), and validation Jaccard (percent) by learning rate (decades) and by adapter.

    `params` has the columns run_id, key, value (and `source`). Complete and pruned trials count, the latter with the
    score at which they were stopped.
    """
    table, notes = trial_params(runs, params)
    return [_importances(table, notes), response(table, "lr"), response(table, "adapter")]


def _importances(table: pl.DataFrame, notes: Sequence[str]) -> Sheet:
    rows: list[dict[str, Any]] = []
    few = []
    for _, cell in table.group_by(*CELL, maintain_order=True):
        first = cell.row(0, named=True)
        trials = cell["run_id"].n_unique()
        if trials < FEWEST:
            few.append(f"{first['dataset']} {first['fraction']} {first['variant']} ({trials})")
            continue
        place = {name: first[name] for name in PLACE}
        found = _ped_anova(cell, searched_in(cell))
        rows += [
            {**place, "key": key, "importance": 100 * value, "kind": kind, "trials": trials}
            for key, kind, value in found
        ]
    schema: dict[str, Any] = {name: table.schema[name] for name in PLACE}
    schema |= {"key": pl.String, "importance": pl.Float64, "kind": pl.String, "trials": pl.Int64}
    frame = pl.DataFrame(rows, schema=schema).sort(
        "dataset",
        "official",
        "fraction_percent",
        "variant",
        "importance",
        "key",
        descending=[False] * 4 + [True, False],
    )
    said = [
        "PED-ANOVA (Optuna): how far a hyperparameter's distribution among the best trials (a tenth, but at least "
        f"{TOP}) is from that among all; shares of the cell's sum; ranges and scales follow from the values "
        "tried; of few trials chance alone makes some hyperparameter look important",
    ]
    if few:
        shown = "; ".join(few[:5]) + (f" and {len(few) - 5} more" if len(few) > 5 else "")
        said.append(f"no importance with fewer than {FEWEST} trials that have a score: {shown}")
    columns = (
        *NAMES,
        Column("key", "hyperparameter", align="left"),
        Column("importance", "importance", 1, unit="%"),
        Column("kind", "as", align="left"),
        Column("trials", "trials"),
    )
    marked = [CONTAMINATED] if len(frame) and frame["contaminated"].any() else []
    return Sheet("importance of hyperparameters", frame, columns, (*marked, *said, *notes))


def _ped_anova(cell: pl.DataFrame, searched: Sequence[str]) -> list[tuple[str, str, float]]:
    """(name, kind, share of the sum) of the searched hyperparameters, from a study rebuilt in memory."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator

    scales = {key: _distribution(cell.filter(pl.col("key") == key)["value"]) for key in searched}
    kinds = {key: kind for key, (kind, _) in scales.items()}
    trials = []
    for (_, score), rows in cell.group_by("run_id", "score", maintain_order=True):
        values = {key: value for key, value in rows.select("key", "value").iter_rows() if key in scales}
        trials.append(
            optuna.trial.create_trial(
                params={key: value if kinds[key] == "choice" else float(value) for key, value in values.items()},
                distributions={key: scales[key][1] for key in values},
                value=float(str(score)),
            )
        )
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(QUANTILE, TOP / len(trials)))
    root = logging.getLogger("optuna")
    level = root.level
    root.setLevel(logging.WARNING)
    try:
        study = optuna.create_study(direction="maximize", storage=optuna.storages.InMemoryStorage())
        study.add_trials(trials)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a condition that holds in one trial only adds nothing
            found = evaluator.evaluate(study, params=list(searched))
    finally:
        root.setLevel(level)
    total = math.fsum(found.values())
    return [(key, kinds[key], found[key] / total if total > 0 else 0.0) for key in sorted(found)]


def _distribution(values: pl.Series) -> tuple[str, BaseDistribution]:
    """How the values tried are to be seen: a choice, or a number on the scale over which they lie more evenly."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    numbers = as_numbers(values)
    if numbers is None or values.n_unique() <= CHOICES:
        return "choice", CategoricalDistribution(values.unique().sort().to_list())
    log = _is_log(numbers)
    return "log" if log else "linear", FloatDistribution(float(numbers.min()), float(numbers.max()), log=log)


def _is_log(numbers: np.ndarray) -> bool:
    low, middle, high = float(numbers.min()), float(np.median(numbers)), float(numbers.max())
    if low <= 0 or high < 10 * low:
        return False
    linear = (middle - low) / (high - low)
    logarithmic = math.log(middle / low) / math.log(high / low)
    return abs(logarithmic - 0.5) < abs(linear - 0.5)
