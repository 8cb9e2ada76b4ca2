"""The runs of an experiment in MLflow as one polars table."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

import polars as pl

from hsray.errors import RequestError
from hsray.scores import METRICS
from hsray.tracking.client import all_runs, answering, open_client, redacted

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

NEEDED_TAGS = ("cell", "kind", "dataset", "strategy", "family", "seed", "axes")
OTHER_METRICS = {
    "validation_jaccard_macro": "val/jaccard_macro",
    "labelled_images": "labelled_images",
    "device_seconds": "cost/device_seconds",
    "features_seconds": "cost/features_seconds",
}
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("experiment", "run_id", "name", "kind", "cell", "cell_name"), pl.String),
    **dict.fromkeys(("task", "dataset", "strategy", "family", "axes"), pl.String),
    "contaminated": pl.Boolean,
    "seed": pl.Int64,
    **dict.fromkeys(("state", "reason", "problem"), pl.String),
    "superseded": pl.Boolean,
    "started_ms": pl.Int64,
    **dict.fromkeys((*METRICS, *OTHER_METRICS), pl.Float64),
}


def load(experiment: str, uri: str) -> pl.DataFrame:
    """One row a run that is not deleted, trials and finals, oldest first.

    `state` is complete, pruned, failed, running or killed. The scores are fractions of one on the test set, null for
    trials. `problem` says why a run cannot be used, null where it can.

    Raises:
        RequestError: MLflow does not answer, or has no such experiment.
    """
    client = open_client(uri)
    with answering(uri):
        runs = all_runs(client, find_experiment(client, experiment, uri))
    return pl.DataFrame([_row(experiment, run) for run in runs], schema=SCHEMA)


def find_experiment(client: MlflowClient, experiment: str, uri: str) -> str:
    """The experiment's id.

    Raises:
        RequestError: it is not there; names those that are.
    """
    found = client.get_experiment_by_name(experiment)
    if found is not None and found.lifecycle_stage == "active":
        return found.experiment_id
    names = sorted(one.name for one in client.search_experiments() if one.name != "Default")
    raise RequestError(
        f"MLflow has no experiment '{experiment}'",
        where=redacted(uri),
        do=f"take one of: {', '.join(names)}" if names else "run a sweep first, or look at another store",
    )


def _row(experiment: str, run: Run) -> dict[str, Any]:
    tags = {name.removeprefix("hsray."): text for name, text in run.data.tags.items() if name.startswith("hsray.")}
    metrics = run.data.metrics
    row: dict[str, Any] = {
        "experiment": experiment,
        "run_id": run.info.run_id,
        "name": run.info.run_name,
        "state": _state(run.info.status, tags),
        "reason": tags.get("reason"),
        "superseded": tags.get("superseded") == "true",
        "started_ms": run.info.start_time,
        **{name: tags.get(name) for name in ("kind", "cell", "task", "dataset", "strategy", "family", "axes")},
        "contaminated": bool(tags.get("contaminated")),
        "cell_name": tags.get("cell", "").rsplit("@", 1)[0],
        **{name: metrics.get(f"test/{name}") for name in METRICS},
        **{name: metrics.get(metric) for name, metric in OTHER_METRICS.items()},
    }
    row["problem"] = _problem(row, tags)
    row["seed"] = int(tags["seed"]) if row["problem"] is None else None
    return row


def _state(status: str, tags: dict[str, str]) -> str:
    ended = {"FINISHED": tags.get("state", "unknown"), "FAILED": "failed", "KILLED": "killed"}
    return ended.get(status, "running")


def _problem(row: dict[str, Any], tags: dict[str, str]) -> str | None:
    missing = [f"hsray.{name}" for name in NEEDED_TAGS if not tags.get(name)]
    if missing:
        return f"no tag {', '.join(missing)}"
    try:
        if not isinstance(json.loads(tags["axes"]), dict):
            return "the tag hsray.axes is not a JSON object"
    except ValueError:
        return "the tag hsray.axes is not JSON"
    if not tags["seed"].lstrip("-").isdecimal():
        return "the tag hsray.seed is not a number"
    if row["state"] == "unknown":
        return "finished without the tag hsray.state"
    if row["kind"] == "final" and row["state"] == "complete":
        absent = [f"test/{name}" for name in METRICS if row[name] is None or not math.isfinite(row[name])]
        if absent:
            return f"no finite metric {', '.join(absent)}"
    return None
