"""Everything that a sweep starts on this machine listens on the loopback address, and Ray asks for a token."""

from __future__ import annotations

import ipaddress
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.sweep.sweeps import start, write_experiment

LONG = {"trials": 2, "epochs": 5000, "patience": None, "halving": False}


@pytest.fixture(scope="module", params=[1, 2], ids=["in the actor", "Ray Train"])
def sweep(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[psutil.Process]:
    tmp_path = tmp_path_factory.mktemp("listening")
    resources = {"workers": request.param, "gpus": 0, "cpus": 0.5}
    write_experiment(tmp_path, axes={"dataset": ["tiny"], "strategy": ["fc"]}, budget=LONG, resources=resources)
    process = start(tmp_path, "sweep", "experiment.yaml", "--data", "data", start_new_session=True)
    try:
        _until_it_trains(process, tmp_path)
        yield psutil.Process(process.pid)
    finally:
        family = [psutil.Process(process.pid), *psutil.Process(process.pid).children(recursive=True)]
        for member in reversed(family):
            if member.is_running():
                member.send_signal(signal.SIGKILL)
        process.communicate()


def test_nothing_listens_beyond_this_machine(sweep: psutil.Process) -> None:
    listening = _listening(sweep)
    names = {name for name, _, _ in listening}
    assert any("raylet" in name for name in names) and any("gcs_server" in name for name in names)
    beyond = [(name, f"{ip}:{port}") for name, ip, port in listening if not _is_loopback(ip)]
    assert not beyond


def test_ray_asks_for_a_token_that_only_its_owner_reads(sweep: psutil.Process) -> None:
    raylet = next(child for child in sweep.children(recursive=True) if "raylet" in child.name())
    environment = raylet.environ()
    assert environment["RAY_AUTH_MODE"] == "token"
    token = Path(environment["HOME"]) / ".ray" / "auth_token"
    assert not token.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO)
    gcs = next(child for child in sweep.children(recursive=True) if "gcs_server" in child.name())
    port = next(entry.laddr.port for entry in gcs.net_connections("tcp") if entry.status == psutil.CONN_LISTEN)
    assert _cluster_of(port, None) == 0
    assert _cluster_of(port, "not-the-one-of-this-cluster-0123456789") != 0


def _cluster_of(port: int, token: str | None) -> int:
    """Exit code of asking the cluster at a port whether it is well; None: with the token of this user."""
    environment = {**os.environ, "RAY_AUTH_MODE": "token"} | ({"RAY_AUTH_TOKEN": token} if token else {})
    question = f"from ray._raylet import GcsClient; GcsClient(address='127.0.0.1:{port}').get_all_node_info(timeout=20)"
    command = [sys.executable, "-c", question]
    return subprocess.run(command, env=environment, capture_output=True, timeout=120, check=False).returncode


def _until_it_trains(process: subprocess.Popen[str], folder: Path) -> None:
    for _ in range(3000):
        if any(folder.rglob("epochs.jsonl")):
            return
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.1)
    raise AssertionError("no epoch within five minutes")


def _listening(process: psutil.Process) -> set[tuple[str, str, int]]:
    found: set[tuple[str, str, int]] = set()
    for member in [process, *process.children(recursive=True)]:
        entries: list[Any] = member.net_connections("inet") if member.is_running() else []
        found |= {(member.name(), e.laddr.ip, e.laddr.port) for e in entries if e.status == psutil.CONN_LISTEN}
    return found


def _is_loopback(ip: str) -> bool:
    address = ipaddress.ip_address(ip)
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback
