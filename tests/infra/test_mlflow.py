"""MLflow as the compose file runs it, by its own start scripts: behind passwords, on PostgreSQL and S3."""

from __future__ import annotations

import base64
import os
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psycopg
import pytest

from hsray.errors import RequestError
from hsray.tracking import Tracker
from tests.infra.stack import SECRETS, Service, mlflow, s3, write_secrets
from tests.reliability.postgres.server import Postgres, may_run
from tests.sweep.sweeps import start, write_experiment
from tests.tracking.folders import FakeRun
from tests.tracking.stores import artifacts, runs_of

NAME, PASSWORD = "MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    folder = tmp_path_factory.mktemp("mlflow")
    write_secrets(folder / "secrets")
    service = mlflow(folder, f"sqlite:///{folder}/mlflow.db", str(folder / "artifacts"))
    try:
        service.wait()
        yield service
    finally:
        service.end()


@pytest.fixture
def uri(server: Service, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.delenv(NAME, raising=False)
    monkeypatch.delenv(PASSWORD, raising=False)
    monkeypatch.setattr("hsray.tracking.client.PATIENCE_S", 60)  # a busy machine is not what is tested
    return server.health.removesuffix("/health")


@pytest.fixture
def administrator(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(NAME, "admin")
    monkeypatch.setenv(PASSWORD, SECRETS["mlflow_admin_password"])


@pytest.mark.parametrize("password", [None, "not-the-password-0815"])
def test_strangers_are_refused_and_told_why(uri: str, password: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    if password is not None:
        monkeypatch.setenv(NAME, "admin")
        monkeypatch.setenv(PASSWORD, password)
    with pytest.raises(RequestError) as refused:
        Tracker(uri, "demo").check()
    assert PASSWORD in str(refused.value) and "0815" not in str(refused.value)


def test_a_sweep_without_a_password_is_refused_before_it_starts(uri: str, tmp_path: Path) -> None:
    write_experiment(tmp_path)
    process = start(tmp_path, "sweep", "experiment.yaml", "--data", "data", "--tracking-uri", uri)
    _, error = process.communicate(timeout=300)
    assert process.returncode == 2 and PASSWORD in error
    assert not list((tmp_path / "runs").rglob("spec.json"))


def test_runs_are_recorded_by_who_knows_the_password(uri: str, administrator: None, tmp_path: Path) -> None:
    assert _record(uri, tmp_path) >= {"confusion.npz", "predictions.npz", "best.safetensors"}
    told = " ".join(path.read_text("utf-8", "replace") for path in tmp_path.rglob("*.json*"))
    assert SECRETS["mlflow_admin_password"] not in told


def test_prometheus_reads_metrics_with_the_password_only(uri: str) -> None:
    with pytest.raises(urllib.error.HTTPError, match="401"):
        urllib.request.urlopen(f"{uri}/metrics", timeout=60)
    known = base64.b64encode(f"admin:{SECRETS['mlflow_admin_password']}".encode()).decode()
    request = urllib.request.Request(f"{uri}/metrics", headers={"Authorization": f"Basic {known}"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert b"mlflow_" in answer.read()


@pytest.mark.parametrize("weak", ["", "short", "password1234"])
def test_weak_passwords_are_refused(weak: str, tmp_path: Path) -> None:
    write_secrets(tmp_path / "secrets", mlflow_admin_password=weak)
    service = mlflow(tmp_path, f"sqlite:///{tmp_path}/mlflow.db", str(tmp_path / "artifacts"))
    try:
        assert service.process.wait(30) == 2
    finally:
        service.end()
    assert "fewer than 12 characters" in service.log.read_text("utf-8")


@pytest.mark.skipif(bool(may_run()), reason=str(may_run()))
def test_the_whole_stack_records_on_postgresql_and_s3(
    administrator: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsray.tracking.client.PATIENCE_S", 60)
    postgres = Postgres()
    services: list[Service] = []
    try:
        postgres.start()
        with psycopg.connect(postgres.url("postgres"), autocommit=True) as connection:
            connection.execute(f"CREATE ROLE mlflow LOGIN PASSWORD '{SECRETS['postgres_password']}'")
            connection.execute("CREATE DATABASE mlflow OWNER mlflow")
        write_secrets(tmp_path / "secrets")
        services.append(s3(tmp_path))
        services[0].wait()
        store = f"postgresql+psycopg://mlflow@127.0.0.1:{postgres.port}/mlflow"  # the password is in PGPASSWORD
        endpoint = services[0].health.removesuffix("/healthz")
        services.append(mlflow(tmp_path, store, "s3://mlflow", MLFLOW_S3_ENDPOINT_URL=endpoint))
        services[1].wait()
        assert "confusion.npz" in _record(services[1].health.removesuffix("/health"), tmp_path / "run")
        with psycopg.connect(postgres.url("mlflow")) as connection:
            assert connection.execute("select count(*) from runs").fetchone() == (1,)
            assert connection.execute("select count(*) from users").fetchone() == (1,)  # who may come in lies there too
        commands = {Path(f"/proc/{pid}/cmdline").read_bytes() for pid in _family(services[1].process.pid)}
        assert not any(secret.encode() in command for secret in SECRETS.values() for command in commands if secret)
    finally:
        for service in services:
            service.end()
        postgres.close()


def _record(uri: str, folder: Path) -> set[str]:
    """Deliver one final; the names of its files in MLflow."""
    run = FakeRun(folder, kind="final").start().epochs(0, 3)
    run.end_final(np.random.default_rng(0))
    tracker = Tracker(uri, "demo")
    try:
        tracker.check()
        tracker.note(run.folder)
        assert tracker.flush(120) == 0, tracker.problem
    finally:
        tracker.close()
    [found] = runs_of(uri)
    assert found.info.status == "FINISHED"
    return artifacts(uri, found)


def _family(pid: int) -> list[int]:
    """The processes of a group."""
    return [int(entry) for entry in os.listdir("/proc") if entry.isdigit() and _group(int(entry)) == pid]


def _group(pid: int) -> int | None:
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None
