"""Real MLflow stores and servers for tests."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from mlflow.entities import Run

from hsray.tracking.client import all_runs, open_client


def runs_of(uri: str, experiment: str = "demo") -> list[Run]:
    client = open_client(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    return all_runs(client, found.experiment_id)


def history(uri: str, run: Run, metric: str) -> list[tuple[int, float]]:
    return [(point.step, point.value) for point in open_client(uri).get_metric_history(run.info.run_id, metric)]


def artifacts(uri: str, run: Run) -> set[str]:
    return {file.path for file in open_client(uri).list_artifacts(run.info.run_id)}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Server:
    """An `mlflow server` on the loopback, in a process group of its own."""

    def __init__(self, folder: Path, store: str) -> None:
        self.port, self.folder, self.store = free_port(), folder, store
        self.uri = f"http://127.0.0.1:{self.port}"
        self.process: subprocess.Popen | None = None

    def start(self) -> None:
        self.process = subprocess.Popen(
            [
                sys.executable, "-m", "mlflow", "server", "--backend-store-uri", self.store, "--host", "127.0.0.1",
                "--port", str(self.port), "--workers", "1", "--artifacts-destination", str(self.folder / "artifacts"),
            ],
            cwd=self.folder,
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        end = time.monotonic() + 90
        while time.monotonic() < end:
            try:
                with urllib.request.urlopen(f"{self.uri}/health", timeout=1):
                    return
            except OSError:
                assert self.process.poll() is None, "the server ended at once"
                time.sleep(0.1)
        raise AssertionError("the server did not start")

    def kill(self) -> None:
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()
