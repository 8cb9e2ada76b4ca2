"""Runs as `load` gives them, without a store."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from hsray.leaderboard.runs import SCHEMA
from hsray.scores import METRICS

FULL_SCHEMA = {**SCHEMA, "source": pl.String, "experiment_id": pl.String, "ended_ms": pl.Int64}


def run(kind: str, number: int, score: float | None = None, **given: Any) -> dict[str, Any]:
    """One run of a cell: dataset, strategy and fraction may be given, other axes as `axes`, and any column."""
    own = {"dataset": given.pop("dataset", "pines"), "strategy": given.pop("strategy", "runet")}
    fraction = given.pop("fraction", 1.0)
    axes = own | ({} if fraction is None else {"fraction": fraction}) | given.pop("axes", {})
    name = ",".join(f"{axis}={value}" for axis, value in axes.items())
    cell = f"{name}@{given.pop('definition', '00000000')}"
    experiment = given.get("experiment", "demo")
    row: dict[str, Any] = {
        "experiment": experiment,
        "run_id": f"{experiment}/{cell}/{kind}-{number}",
        "name": f"{name} {kind} {number}",
        "kind": kind,
        "cell": cell,
        "cell_name": name,
        "task": "segmentation",
        **own,
        "family": "in-domain",
        "axes": json.dumps(axes),
        "contaminated": False,
        "seed": number if kind == "final" else 0,
        "state": "complete",
        "superseded": False,
        "started_ms": 1000 * number,
        "ended_ms": 1000 * number + 500,
        "labelled_images": 12.0,
        "device_seconds": 3600.0,
        "features_seconds": 0.0,
        "source": "sqlite:///mlflow.db",
        "experiment_id": "1",
    }
    row |= dict.fromkeys(METRICS, score) if kind == "final" else {"validation_jaccard_macro": score}
    return row | given


def frame(*rows: dict[str, Any]) -> pl.DataFrame:
    return pl.DataFrame(rows, schema=FULL_SCHEMA)


def finals(*scores: float, **given: Any) -> list[dict[str, Any]]:
    """Finals of seeds 0, 1, … with these scores, as fractions."""
    return [run("final", seed, score, **given) for seed, score in enumerate(scores)]


def trials(*scores: float | None, **given: Any) -> list[dict[str, Any]]:
    """Trials in the order they ended, with these validation scores, as fractions."""
    return [run("trial", number, score, **given) for number, score in enumerate(scores)]


def params(rows: list[dict[str, Any]], **values: list[Any]) -> pl.DataFrame:
    """Parameters of these runs as the mirror gives them; None where a run has none."""
    found = [
        {"source": row["source"], "run_id": row["run_id"], "key": key, "value": str(of_runs[place])}
        for place, row in enumerate(rows)
        for key, of_runs in values.items()
        if of_runs[place] is not None
    ]
    return pl.DataFrame(found, schema=dict.fromkeys(("source", "run_id", "key", "value"), pl.String))
