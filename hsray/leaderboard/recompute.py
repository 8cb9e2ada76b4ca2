"""The scores again, from the confusion matrices that the finals left."""

from __future__ import annotations

import tempfile
from pathlib import Path

import polars as pl

from hsray.errors import HsrayError
from hsray.leaderboard.confusions import CONFUSION, read_confusions
from hsray.leaderboard.runs import load
from hsray.scores import scores
from hsray.tracking.client import answering, open_client


def recompute(experiment: str, uri: str) -> pl.DataFrame:
    """The table of `load`, with the scores of every complete final computed from its `confusion.npz`.

    `table(recompute(...))` is therefore a comparison that trusts no logged score.

    Raises:
        RequestError: MLflow does not answer, or has no such experiment.
        HsrayError: a final has no readable confusion matrices.
    """
    runs = load(experiment, uri)
    client = open_client(uri)
    found = []
    finals = runs.filter(pl.col("kind") == "final", pl.col("state") == "complete")
    for run_id in finals["run_id"]:
        with tempfile.TemporaryDirectory(prefix="hsray-") as folder, answering(uri):
            if CONFUSION not in {file.path for file in client.list_artifacts(run_id)}:
                raise HsrayError(f"a final has no artifact {CONFUSION}", where=f"MLflow run {run_id}")
            path = client.download_artifacts(run_id, CONFUSION, folder)
            found.append({"run_id": run_id, **scores_of(Path(path))})
    if not found:
        return runs
    return runs.update(pl.DataFrame(found), on="run_id")


def scores_of(path: Path) -> dict[str, float]:
    """The four scores over all images of a confusion file, pooled."""
    found = read_confusions(path)
    return scores(found.confusion_NKK.sum(0), found.ignore_id)
