"""The report in MLflow: one run of kind `report` an experiment, which no table counts and every report replaces."""

from __future__ import annotations

import time
from pathlib import Path

from hsray.leaderboard.mirror.served import READING_S
from hsray.leaderboard.runs import REPORT_KIND, find_experiment
from hsray.tracking.client import answering, open_client

NAME = "report.html"


def log_report(experiment: str, uri: str, path: Path) -> str:
    """Make `path` the artefact report.html of the experiment's report run; returns the run's id.

    The run has no `hsray.key`, so that no sweep takes it for one of its own. Where the upload fails it is closed as
    FAILED: nobody else would close it.

    Raises:
        RequestError: MLflow does not answer, or has no such experiment.
        Exception: what the library of an artefact store raises where that does not take the file.
    """
    from mlflow.entities import RunTag

    client = open_client(uri)
    with answering(uri, READING_S):
        id = find_experiment(client, experiment, uri)
        found = client.search_runs([id], f"tags.`hsray.kind` = '{REPORT_KIND}'", order_by=["start_time ASC"])
        if found:
            run_id = found[0].info.run_id
        else:
            run_id = client.create_run(id, tags={"hsray.kind": REPORT_KIND}, run_name="report").info.run_id
        status = "FAILED"
        try:
            client.log_artifact(run_id, str(path))
            note = "The sweep's report is the artefact report.html. It is replaced at the end of every sweep command."
            client.log_batch(run_id, tags=[RunTag("mlflow.note.content", note)])
            status = "FINISHED"
        finally:
            client.set_terminated(run_id, status, int(time.time() * 1000))
    return run_id
