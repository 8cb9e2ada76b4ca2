"""A real S3 server over HTTP (moto's), behind a relay that can be cut."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from pyarrow.fs import FileSelector, FileType, S3FileSystem

BUCKET = "hsray-runs"
KEY, SECRET = "AKIDCANARY7Q2X", "canarySecret-93f1c0aa57"  # never to be found in any file


class Relay:
    """Passes connections on to a port of this machine; while it is cut, nobody answers."""

    def __init__(self, target: int) -> None:
        self.target, self.port = target, free_port()
        self._open: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self.mend()

    def mend(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def cut(self) -> None:
        """Close everything; further connections are refused."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
        self._listener = None
        for end in self._open:
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        self._open.clear()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                near = listener.accept()[0]
                far = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                return
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=_pump, args=(source, sink), daemon=True).start()


class S3:
    """The server with one bucket. `env` is what a client's environment needs."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        self.log = (folder / "s3.log").open("wb")
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]
        self.process = subprocess.Popen(command, stdout=self.log, stderr=self.log)
        self.direct = f"http://127.0.0.1:{self.port}"
        request = urllib.request.Request(f"{self.direct}/{BUCKET}", method="PUT")
        for _ in range(600):
            try:
                urllib.request.urlopen(request, timeout=5).close()
                break
            except (urllib.error.URLError, ConnectionError):
                time.sleep(0.1)
        self.relay = Relay(self.port)
        self.env = {
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{self.relay.port}", "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        self.files = S3FileSystem(
            access_key=KEY, secret_key=SECRET, region="us-east-1", scheme="http",
            endpoint_override=f"127.0.0.1:{self.port}",
        )  # fmt: skip

    def objects(self) -> dict[str, int]:
        """Sizes by name."""
        found = self.files.get_file_info(FileSelector(BUCKET, recursive=True))
        return {i.path.removeprefix(f"{BUCKET}/"): i.size for i in found if i.type == FileType.File}

    def read(self, name: str) -> bytes:
        with self.files.open_input_stream(f"{BUCKET}/{name}") as stream:
            return stream.read()

    def json(self, name: str) -> Any:
        return json.loads(self.read(name))

    def close(self) -> None:
        self.relay.cut()
        self.process.kill()
        self.process.wait()
        self.log.close()


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def environment(server: S3, scratch: Path) -> dict[str, str]:
    """A whole environment for a command whose copies lie in `scratch`."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "HSRAY_", "MLFLOW_", "RAY_"))}
    own = {"HSRAY_SCRATCH": str(scratch), "HSRAY_CHECKPOINT_SECONDS": "0.2"}
    return kept | server.env | own | {"PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}


def start(server: S3, folder: Path, *arguments: str, scratch: str = "scratch") -> subprocess.Popen[str]:
    """`hsray …` in `folder`, in a session of its own; its copies lie in `scratch`, as on a machine of its own."""
    return subprocess.Popen(
        [sys.executable, "-m", "hsray.cli", *arguments], cwd=folder, env=environment(server, folder / scratch),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


def kill(process: subprocess.Popen[str]) -> None:
    """`kill -9` of the driver alone; its Ray has to notice by itself."""
    process.kill()
    process.communicate()


def _pump(source: socket.socket, sink: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            sink.sendall(data)
    except OSError:
        pass
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
