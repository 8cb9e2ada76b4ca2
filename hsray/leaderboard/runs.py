"""Runs as one wide frame, a row each, from the long tables in which MLflow keeps tags and metrics."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import polars as pl

from hsray.errors import RequestError
from hsray.scores import METRICS

if TYPE_CHECKING:
    from mlflow import MlflowClient

NEEDED_TAGS = ("cell", "kind", "dataset", "strategy", "family", "seed", "axes")
MORE_TAGS = ("task", "contaminated", "state", "reason", "superseded")
OTHER_METRICS = {
    "validation_jaccard_macro": "val/jaccard_macro",
    "labelled_images": "labelled_images",
    "device_seconds": "cost/device_seconds",
    "features_seconds": "cost/features_seconds",
}
READ_METRICS = {**{name: f"test/{name}" for name in METRICS}, **OTHER_METRICS}
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
# What MLflow says of a run besides its tags, metrics and parameters. `status` is MLflow's own.
LISTED: dict[str, Any] = {
    **dict.fromkeys(("run_id", "experiment_id", "name", "status"), pl.String),
    **dict.fromkeys(("started_ms", "ended_ms"), pl.Int64),
    "artifact_uri": pl.String,
}
REPORT_KIND = "report"  # of the run that keeps a sweep's report: no run of the sweep
MAX_FLOAT = 1.7976931348623157e308  # what MLflow's databases hold for infinity


def load(experiment: str, uri: str) -> pl.DataFrame:
    """One row a run that is not deleted, trials and finals, oldest first, read by MLflow's client. Columns: SCHEMA.

    `state` is complete, pruned, failed, running or killed. The scores are fractions of one on the test set, null for
    trials. `problem` says why a run cannot be used, null where it can.

    Raises:
        RequestError: MLflow does not answer, or has no such experiment.
    """
    from hsray.leaderboard.mirror.served import READING_S, read_runs
    from hsray.tracking.client import answering, open_client

    client = open_client(uri)
    with answering(uri, READING_S):
        listed, tables = read_runs(client, find_experiment(client, experiment, uri))
    frame = wide(listed, tables["metrics"], tables["tags"]).filter(pl.col("kind").ne_missing(REPORT_KIND))
    return frame.with_columns(pl.lit(experiment).alias("experiment")).select(list(SCHEMA))


def find_experiment(client: MlflowClient, experiment: str, uri: str) -> str:
    """The experiment's id.

    Raises:
        RequestError: it is not there; names those that are.
    """
    found = client.get_experiment_by_name(experiment)
    if found is not None and found.lifecycle_stage == "active":
        return found.experiment_id
    raise no_experiment(experiment, [one.name for one in client.search_experiments()], uri)


def no_experiment(experiment: str, there: list[str], uri: str) -> RequestError:
    from hsray.tracking.client import redacted

    names = sorted(name for name in there if name != "Default")
    return RequestError(
        f"MLflow has no experiment '{experiment}'",
        where=redacted(uri),
        do=f"take one of: {', '.join(names)}" if names else "run a sweep first, or look at another store",
    )


def wide(listed: pl.DataFrame, metrics: pl.DataFrame, tags: pl.DataFrame) -> pl.DataFrame:
    """One row a run, oldest first: the columns of LISTED, and those of SCHEMA but `experiment`.

    `listed` has the columns of LISTED; `metrics` and `tags` have run_id, key and value, of more keys than are needed.
    """
    wanted = {f"hsray.{name}": f"tag_{name}" for name in (*NEEDED_TAGS, *MORE_TAGS)}
    frame = _spread(_spread(listed, tags, wanted), metrics, {key: name for name, key in READ_METRICS.items()})
    infinite = pl.col(*READ_METRICS)
    frame = frame.join(_axes_faults(frame["tag_axes"]), on="tag_axes", how="left", nulls_equal=True).with_columns(
        *(pl.col(f"tag_{name}").alias(name) for name in (*NEEDED_TAGS, "task", "reason") if name != "seed"),
        pl.col("tag_cell").fill_null("").str.replace("@[^@]*$", "").alias("cell_name"),
        (pl.col("tag_contaminated").fill_null("") != "").alias("contaminated"),
        (pl.col("tag_superseded").fill_null("") == "true").alias("superseded"),
        _state().alias("state"),
        pl.when(infinite.abs() == MAX_FLOAT).then(infinite.sign() * float("inf")).otherwise(infinite).name.keep(),
        pl.when(pl.col("tag_seed").str.contains(r"^-?[0-9]+$"))
        .then(pl.col("tag_seed"))
        .cast(pl.Int64, strict=False)
        .alias("seed"),
    )
    frame = frame.with_columns(_problem().alias("problem"))
    frame = frame.with_columns(pl.when(pl.col("problem").is_null()).then(pl.col("seed")).alias("seed"))
    columns = dict.fromkeys([*LISTED, *(name for name in SCHEMA if name != "experiment")])
    return frame.select(list(columns)).sort("started_ms", "run_id", nulls_last=True)


def _spread(frame: pl.DataFrame, long: pl.DataFrame, names: dict[str, str]) -> pl.DataFrame:
    """`frame` with a column for every one of the keys `names`, null where a run has none."""
    wanted = long.filter(pl.col("key").is_in(list(names)))
    spread = wanted.pivot(on="key", index="run_id", values="value", aggregate_function="first")
    dtype = long.schema["value"]
    columns = [pl.col(key) if key in spread.columns else pl.lit(None, dtype).alias(key) for key in names]
    return frame.join(spread.select("run_id", *columns).rename(names), on="run_id", how="left")


def _state() -> pl.Expr:
    status = pl.col("status")
    return (
        pl.when(status == "FINISHED")
        .then(pl.col("tag_state").fill_null("unknown"))
        .when(status.is_in(["FAILED", "KILLED"]))
        .then(status.str.to_lowercase())
        .otherwise(pl.lit("running"))
    )


def _problem() -> pl.Expr:
    """Why a run cannot be used: the first reason that there is, else null."""
    blank = [(pl.col(f"tag_{name}").fill_null("") == "", f"hsray.{name}") for name in NEEDED_TAGS]
    absent = [(~pl.col(name).is_finite().fill_null(False), f"test/{name}") for name in METRICS]
    to_be_scored = (pl.col("kind") == "final") & (pl.col("state") == "complete")
    return (
        pl.when(pl.any_horizontal(missing for missing, _ in blank))
        .then(pl.lit("no tag ") + _names(blank))
        .when(pl.col("axes_fault").is_not_null())
        .then(pl.col("axes_fault"))
        .when(pl.col("seed").is_null())
        .then(pl.lit("the tag hsray.seed is not a number"))
        .when(~pl.col("kind").is_in(["trial", "final"]))
        .then(pl.lit("the tag hsray.kind is neither trial nor final"))
        .when(pl.col("state") == "unknown")
        .then(pl.lit("finished without the tag hsray.state"))
        .when(to_be_scored & pl.any_horizontal(missing for missing, _ in absent))
        .then(pl.lit("no finite metric ") + _names(absent))
    )


def _names(cases: list[tuple[pl.Expr, str]]) -> pl.Expr:
    named = [pl.when(holds).then(pl.lit(name)) for holds, name in cases]
    return pl.concat_str(named, separator=", ", ignore_nulls=True)


def _axes_faults(texts: pl.Series) -> pl.DataFrame:
    """What is wrong with the axes: one row for every text, of which there are as many as cells."""
    unique = texts.unique()
    faults = [None if text is None else _axes_fault(text) for text in unique]
    return pl.DataFrame({"tag_axes": unique, "axes_fault": pl.Series(faults, dtype=pl.String)})


def _axes_fault(text: str) -> str | None:
    try:
        axes = json.loads(text)
    except (ValueError, RecursionError):
        return "the tag hsray.axes is not JSON"
    if not isinstance(axes, dict):
        return "the tag hsray.axes is not a JSON object"
    if not isinstance(axes.get("dataset"), str):
        return "the tag hsray.axes names no dataset"
    try:
        float(str(axes.get("fraction", 1)).removeprefix("official:"))
    except ValueError:
        return "the tag hsray.axes has a fraction that is none"
    return None
