"""One run's folder into one MLflow run, with as few requests as possible, as often as one likes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from hsray.tracking.runfolder import RunRecord, ms

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Metric, Run


@dataclass
class Known:
    """What we know of a run in MLflow. `sent` holds the epochs that this process delivered."""

    run_id: str
    artifact_uri: str
    status: str
    end_ms: int | None
    kind: str
    cell: str
    superseded: bool
    sent: set[tuple[int, float]] = field(default_factory=set)

    @classmethod
    def of(cls, run: Run) -> Known:
        tags = run.data.tags
        superseded = tags.get("hsray.superseded") == "true"
        kind, cell = tags.get("hsray.kind", ""), tags.get("hsray.cell", "")
        return cls(run.info.run_id, run.info.artifact_uri, run.info.status, run.info.end_time, kind, cell, superseded)

    def up_to_date(self, record: RunRecord) -> bool:
        """Closed, and nothing happened in the folder since."""
        if self.status == "RUNNING" or self.end_ms is None:
            return False
        if record.result:
            return self.status != "KILLED" and self.end_ms == _end_ms(record)
        return self.end_ms >= record.touched_ms


def deliver(client: MlflowClient, experiment_id: str, record: RunRecord, known: Known | None) -> Known:
    """Bring the run up to what its folder says; create and close it where that is due.

    Every step may be repeated: equal parameters and metrics are stored once, and the run is closed last.
    """
    from mlflow.entities import Param, RunTag

    if known is None:
        known = _create(client, experiment_id, record)
    elif known.up_to_date(record):
        return known
    elif known.status != "RUNNING":  # taken up again
        client.update_run(known.run_id, status="RUNNING")
        known.status = "RUNNING"
    fresh = [epoch for epoch in record.epochs if (epoch["epoch"], epoch["time"]) not in known.sent]
    metrics = [metric for epoch in fresh for metric in _metrics(epoch["metrics"], ms(epoch["time"]), epoch["epoch"])]
    params = [] if known.sent else [Param(name, str(value)) for name, value in record.spec["params"].items()]
    tags = []
    if record.result:
        state, reason = record.result["state"].lower(), record.result["reason"]
        tags = [RunTag("hsray.state", state), *([RunTag("hsray.reason", reason)] if reason else [])]
        if tried := record.result.get("retries"):
            told = (f"{retry['reason']} (accumulate={retry['accumulate']})" for retry in tried)
            tags.append(RunTag("hsray.retries", "; ".join(told)))
        metrics += _final_metrics(record)
    client.log_batch(known.run_id, metrics, params, tags)
    known.sent.update((epoch["epoch"], epoch["time"]) for epoch in fresh)
    if record.result:
        _log_artifacts(client.tracking_uri, known.artifact_uri, record)
        known.status = "FAILED" if record.result["state"] == "FAILED" else "FINISHED"
        known.end_ms = _end_ms(record)
        client.set_terminated(known.run_id, known.status, known.end_ms)
        known.sent.clear()
    return known


def files_to_send(record: RunRecord) -> list[str]:
    """The files of an ended run that MLflow gets: the specification, and of finals what its result names."""
    if record.result is None:
        return []
    return ["spec.json", *(record.result["artifacts"] if record.spec["kind"] != "trial" else [])]


def _create(client: MlflowClient, experiment_id: str, record: RunRecord) -> Known:
    spec = record.spec
    tags = {**spec["tags"], "hsray.key": spec["key"], "hsray.kind": spec["kind"], "hsray.cell": spec["cell"]}
    return Known.of(client.create_run(experiment_id, record.started_ms, tags, spec["name"]))


def _metrics(values: dict[str, Any], timestamp: int, step: int) -> list[Metric]:
    from mlflow.entities import Metric

    return [Metric(name, float(value), timestamp, step) for name, value in values.items() if value is not None]


def _final_metrics(record: RunRecord) -> list[Metric]:
    """At the last epoch's step and after it, so that MLflow shows the best epoch's score as the run's value."""
    assert record.result is not None
    step, time = (record.epochs[-1]["epoch"], record.epochs[-1]["time"]) if record.epochs else (0, 0.0)
    values = {**record.result["metrics"], "best_epoch": record.result.get("best_epoch")}
    return _metrics(values, max(_end_ms(record), ms(time) + 1), step)


def _end_ms(record: RunRecord) -> int:
    assert record.result is not None
    return ms(record.result["ended"])


def _log_artifacts(tracking_uri: str, artifact_uri: str, record: RunRecord) -> None:
    """The specification with the resolved configuration; of finals also their files, manifest and experiment file."""
    # The client's own method would ask for the run again to learn the address that we have.
    from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

    assert record.result is not None
    paths = [record.folder / name for name in files_to_send(record)]
    if record.spec["kind"] == "final":
        paths += [record.manifest, record.manifest.with_name("experiment.yaml")]
    repository = get_artifact_repository(artifact_uri, tracking_uri=tracking_uri)
    for path in paths:
        if path.exists():
            repository.log_artifact(str(path))
