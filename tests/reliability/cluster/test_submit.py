"""`hsray submit`: a job that outlives the machine it came from."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.reliability.cluster.sweeping import SETTINGS, Sweep, until
from tests.reliability.raylets import Raylets


@pytest.fixture(scope="module")
def cluster() -> Iterator[Raylets]:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    with Raylets(2, env=SETTINGS | {"PATH": path}) as cluster:
        yield cluster


def submit(cluster: Raylets, sweep: Sweep, *options: str, **env: str) -> subprocess.Popen[str]:
    """From another folder and another environment than the cluster's."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("RAY_", "HSRAY_", "MLFLOW_"))}
    token = {name: value for name, value in cluster.env.items() if name != "RAY_ADDRESS"}
    command = [
        sys.executable,
        "-m",
        "hsray.cli",
        "submit",
        str(sweep.experiment),
        "--address",
        cluster.dashboard,
        *options,
    ]
    return subprocess.Popen(
        command, cwd=Path(__file__).parents[3], env=kept | token | {"PYTHONWARNINGS": "ignore"} | env,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip


def on_cluster(sweep: Sweep) -> list[str]:
    store = f"sqlite:///{sweep.folder}/mlflow.db"
    return ["--data", str(sweep.folder / "data"), "--runs", str(sweep.folder / "runs"), "--tracking-uri", store]


def said(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=400)[0]


def test_a_job_outlives_its_client_and_is_not_run_twice(cluster: Raylets, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    (tmp_path / "said.txt").touch()
    client = submit(cluster, sweep, *on_cluster(sweep), "--follow")
    until(lambda: sweep.epochs() or client.poll() is not None, what="the job's first epoch")
    assert client.poll() is None, said(client)
    client.send_signal(signal.SIGKILL)
    first = said(client)
    assert "submitted as hsray-tiny-sweep-" in first and "ray job logs" in first
    again = submit(cluster, sweep, *on_cluster(sweep))
    assert "is running there already" in said(again) and again.returncode == 2
    until(lambda: sweep.ended() == 5, what="the end of the sweep")
    follows = None
    while follows is None or "is running there already" in follows:  # the job is about to end
        last = submit(cluster, sweep, *on_cluster(sweep), "--follow")
        follows = said(last)
    assert last.returncode == 0, follows
    assert "tiny-sweep" in follows and "mlp" in follows, "its table is printed"
    sweep.check(4)


def test_what_is_refused(cluster: Raylets, tmp_path: Path) -> None:
    sweep = Sweep(tmp_path)
    cases: list[tuple[list[str], dict[str, str], str, int]] = [
        (["--address", "http://127.0.0.1:9"], {}, "no Ray cluster answers", 2),
        ([], {"RAY_AUTH_MODE": "disabled"}, "it asks for a token", 2),
        (["--tracking-uri", "http://me:secret@mlflow:5000"], {}, "a password would stand in the clear", 2),
        (["--runs", "runs"], {}, "a submitted sweep needs an absolute --data", 1),
    ]
    clients: list[Any] = [submit(cluster, sweep, *options, **env) for options, env, _, _ in cases]
    for client, (options, _, message, code) in zip(clients, cases, strict=True):
        text = said(client)
        assert message in text and "Traceback" not in text and "secret" not in text, (options, text)
        assert client.returncode == code, text
