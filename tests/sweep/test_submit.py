"""What a submitted sweep is told, without a cluster; with one: tests/reliability/cluster."""

from __future__ import annotations

import pytest

from hsray import __version__
from hsray.errors import RequestError
from hsray.sweep.cluster.submit import Cluster, refuse_secrets
from hsray.sweep.cluster.submitted import arguments

FOLDERS = ["--data", "/shared/data", "--runs", "/shared/runs"]


def test_the_same_hsray_and_folders_that_last(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("HSRAY_DATA", "HSRAY_RUNS"):
        monkeypatch.delenv(variable, raising=False)
    assert arguments(__version__, ["study.yaml", *FOLDERS, "--smoke"]) == ["sweep", "study.yaml", *FOLDERS, "--smoke"]
    with pytest.raises(
        RequestError, match=f"the cluster has hsray {__version__}, and the sweep was submitted by 0.0.1"
    ):
        arguments("0.0.1", ["study.yaml", *FOLDERS])
    with pytest.raises(RequestError, match="absolute --runs, not 'runs'"):
        arguments(__version__, ["study.yaml", "--data", "/shared/data", "--runs", "runs"])
    with pytest.raises(RequestError, match=r"absolute --data\n"):
        arguments(__version__, ["study.yaml"])
    monkeypatch.setenv("HSRAY_DATA", "/shared/data")
    arguments(__version__, ["study.yaml", "--runs", "s3://bucket/runs"])


def test_no_password_in_a_job() -> None:
    refuse_secrets(tracking_uri="http://mlflow:5000", data="/shared/data", runs=None)
    with pytest.raises(RequestError, match="--tracking-uri") as refused:
        refuse_secrets(tracking_uri="postgresql://me:secret@base/mlflow")
    assert "secret" not in str(refused.value)
    with pytest.raises(RequestError, match="password") as refused:
        Cluster("http://me:secret@head:8265")
    assert "secret" not in str(refused.value)
