"""The services of the compose file without containers: its own start scripts, with programs of this machine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

from tests.infra.checks import INFRA
from tests.tracking.stores import free_port

SECRETS = {
    "postgres_password": "a-database-password", "s3_access_key": "hsray", "s3_secret_key": "a-key-of-the-store",
    "mlflow_admin_password": "an-administrators-password", "mlflow_secret_key": "what-forms-are-signed-with",
}  # fmt: skip


def write_secrets(folder: Path, **changed: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, value in (SECRETS | changed).items():
        (folder / name).write_text(value, "utf-8")
    return folder


class Service:
    """A process group of its own that answers at an address once it is up."""

    def __init__(self, command: list[str | Path], health: str, log: Path, **environment: str) -> None:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.log, self.health = log, health
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                list(map(str, command)), env={**os.environ, "PATH": path, **environment}, stdout=output,
                stderr=subprocess.STDOUT, cwd=log.parent, start_new_session=True,
            )  # fmt: skip

    def wait(self, seconds: float = 180) -> None:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            assert self.process.poll() is None, self.log.read_text("utf-8")
            with suppress(OSError), urllib.request.urlopen(self.health, timeout=2):
                return
            time.sleep(0.2)
        raise AssertionError(f"not up after {seconds:g} s: {self.log.read_text('utf-8')[-2000:]}")

    def end(self) -> None:
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def mlflow(folder: Path, store: str, destination: str, **environment: str) -> Service:
    """`start.sh` of the compose file's MLflow, on a loopback port; `health` without `/health` is its address."""
    port = free_port()
    fixed = {
        "SECRETS": str(folder / "secrets"), "LISTEN": "127.0.0.1", "PORT": str(port), "TMPDIR": str(folder),
        "MLFLOW_BACKEND_STORE_URI": store, "MLFLOW_ARTIFACTS_DESTINATION": destination,
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }  # fmt: skip
    command: list[str | Path] = [INFRA / "compose" / "mlflow" / "start.sh", "--workers", "1"]
    return Service(command, f"http://127.0.0.1:{port}/health", folder / "mlflow.log", **fixed, **environment)


def s3(folder: Path) -> Service:
    """`start.sh` of the compose file's object store, on loopback ports of its own."""
    port, master, volume, filer = (free_port() for _ in range(4))
    (folder / "s3").mkdir()
    own = [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-master.volumeSizeLimitMB=64"]
    ports = [f"-{name}.port.grpc={free_port()}" for name in ("master", "volume", "filer", "s3")]
    fixed = {"SECRETS": str(folder / "secrets"), "LISTEN": "127.0.0.1", "PORT": str(port), "DATA": str(folder / "s3")}
    script = INFRA / "compose" / "s3" / "start.sh"
    return Service([script, *own, *ports], f"http://127.0.0.1:{port}/healthz", folder / "s3.log", **fixed)
