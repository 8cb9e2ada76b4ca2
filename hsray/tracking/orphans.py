"""Runs that stand RUNNING in MLflow, for those who close them when nobody is left to."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from hsray.tracking.client import all_runs, answering, open_client
from hsray.tracking.owner import Owner

if TYPE_CHECKING:
    from mlflow import MlflowClient


@dataclass(frozen=True)
class OpenRun:
    """A run of hsray's that MLflow takes to be running. `experiment` is the sweep's name, `owner` its folder by the
    experiment's tags, where it has them.
    """

    run_id: str
    experiment: str
    name: str
    key: str
    started_ms: int
    owner: Owner | None


def nothing_there(uri: str) -> bool:
    """Whether the store is a file that nobody has made yet."""
    return uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///").split("?")[0]).exists()


def open_runs(uri: str) -> tuple[MlflowClient, list[OpenRun]]:
    """All that stand RUNNING and carry `hsray.key`, in every experiment. Raises RequestError where MLflow is away."""
    client = open_client(uri)
    found = []
    with answering(uri):
        for experiment in client.search_experiments():
            for run in all_runs(client, experiment.experiment_id, "attributes.status = 'RUNNING'"):
                if key := run.data.tags.get("hsray.key"):
                    name = run.info.run_name or run.info.run_id
                    owner = Owner.named_by(experiment)
                    found.append(OpenRun(run.info.run_id, experiment.name, name, key, run.info.start_time, owner))
    return client, found


def close_run(client: MlflowClient, uri: str, run: OpenRun) -> None:
    """As KILLED. A sweep that takes the run up again opens it again. Raises RequestError where MLflow is away."""
    with answering(uri):
        client.set_terminated(run.run_id, "KILLED", int(time.time() * 1000))
