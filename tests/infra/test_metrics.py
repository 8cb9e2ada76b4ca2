"""A real sweep's metrics: what Ray exports, and that every query of the board asks for something that is there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.infra.checks import BOARD
from tests.sweep.sweeps import write_experiment
from tests.tracking.stores import free_port

OURS = {
    "ray_hsray_trials", "ray_hsray_finals", "ray_hsray_runs", "ray_hsray_best_score", "ray_hsray_run_seconds",
    "ray_hsray_samples_per_second", "ray_hsray_device_memory_bytes",
}  # fmt: skip
# Ray exports it where a node has a device only.
OF_DEVICES = {"ray_node_gram_used"}
CELLS = 2


class Scene:
    """A sweep on a Ray of its own, which exports on a port of the loopback."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.port = folder, free_port()
        self.processes: list[subprocess.Popen[Any]] = []
        token = folder / "token"
        token.write_text("0123456789abcdef" * 4)
        token.chmod(0o600)
        self.environment = {
            **os.environ, "RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": str(token),
            "RAY_metrics_report_interval_ms": "1000", "PYTHONWARNINGS": "ignore", "RAY_USAGE_STATS_ENABLED": "0",
        }  # fmt: skip

    def start(self) -> None:
        folder = self.folder
        ports = [free_port() for _ in range(4)]
        ray = Path(sys.executable).parent / "ray"
        names = ("port", "dashboard-port", "ray-client-server-port", "dashboard-agent-listen-port")
        given = [f"--{name}={port}" for name, port in zip(names, ports, strict=True)]
        command = [
            str(ray), "start", "--head", "--block", "--num-cpus=2", f"--temp-dir=/tmp/hsray-{os.getpid()}",
            f"--metrics-export-port={self.port}", *given,
        ]  # fmt: skip
        with (folder / "ray.log").open("wb") as log:
            ray_itself = subprocess.Popen(
                command, env=self.environment, stdout=log, stderr=subprocess.STDOUT, start_new_session=True
            )
        self.processes.append(ray_itself)
        for _ in range(900):
            found = re.search(r"--address='([^:']+):", (folder / "ray.log").read_text("utf-8", "replace"))
            if found:
                break
            time.sleep(0.1)
        assert found, (folder / "ray.log").read_text("utf-8")
        self.ip = found.group(1)
        write_experiment(
            folder, axes={"dataset": ["tiny"], "strategy": ["mlp", "fc"]}, final={"seeds": 1},
            budget={"trials": 3, "epochs": 1500, "patience": None, "halving": False},
        )  # fmt: skip
        kept = {k: v for k, v in self.environment.items() if k != "MLFLOW_TRACKING_URI"}
        command = [sys.executable, "-m", "hsray.cli", "sweep", "experiment.yaml", "--data", "data"]
        self.sweep = subprocess.Popen(
            command, cwd=folder, env=kept | {"RAY_ADDRESS": f"{self.ip}:{ports[0]}"}, text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True,
        )  # fmt: skip
        self.processes.append(self.sweep)

    def scrape(self) -> list[Sample]:
        with urllib.request.urlopen(f"http://{self.ip}:{self.port}/metrics", timeout=10) as answer:
            families = list(text_string_to_metric_families(answer.read().decode()))
        return [sample for family in families for sample in family.samples]

    def close(self) -> None:
        for process in reversed(self.processes):
            # Parts of Ray's dashboard are in groups of their own, and outlive it.
            family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
            for member in [*family, process]:
                with suppress(psutil.NoSuchProcess, ProcessLookupError):
                    member.send_signal(signal.SIGKILL)
            process.communicate()
        shutil.rmtree(f"/tmp/hsray-{os.getpid()}", ignore_errors=True)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    made = Scene(tmp_path_factory.mktemp("metrics"))
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture(scope="module")
def samples(scene: Scene) -> list[Sample]:
    """A scrape in the middle of the sweep, in which all of ours are, and those of the nodes, which Ray adds later."""
    wanted = (OURS | _asked()) - OF_DEVICES
    end = time.monotonic() + 400
    found: list[Sample] = []
    while time.monotonic() < end:
        assert scene.sweep.poll() is None, scene.sweep.communicate()[1]
        found = scene.scrape()
        if {sample.name for sample in found} >= wanted:
            return found
        time.sleep(0.5)
    raise AssertionError(f"not exported: {wanted - {sample.name for sample in found}}")


def test_trials_by_state_are_those_of_the_sweep(samples: list[Sample]) -> None:
    trials = [sample for sample in samples if sample.name == "ray_hsray_trials"]
    assert {sample.labels["state"] for sample in trials} == {"complete", "stopped", "failed", "running", "waiting"}
    assert {sample.labels["sweep"] for sample in trials} == {"tiny-sweep"}
    by_cell: dict[str, float] = {}
    for sample in trials:
        by_cell[sample.labels["cell"]] = by_cell.get(sample.labels["cell"], 0) + sample.value
    assert list(by_cell.values()) == [3.0] * CELLS  # as many as are planned


def test_the_figures_of_runs_are_sensible(samples: list[Sample]) -> None:
    values = {name: [s.value for s in samples if s.name == name] for name in OURS}
    assert all(0 <= value <= 1 for value in values["ray_hsray_best_score"])
    assert all(value > 0 for value in values["ray_hsray_samples_per_second"] + values["ray_hsray_run_seconds"])
    assert all(value > 50e6 for value in values["ray_hsray_device_memory_bytes"])  # torch alone takes more
    assert values["ray_hsray_runs"][0] in (0, 1, 2)


def test_labels_are_few(samples: list[Sample]) -> None:
    """None grows with the number of trials: the sweep, the cell, a state or a kind of device."""
    rays = {"Component", "NodeAddress", "SessionName", "Version", "WorkerId", "otel_scope_name",
            "otel_scope_schema_url", "otel_scope_version"}  # fmt: skip
    for sample in samples:
        if sample.name in OURS:
            assert set(sample.labels) - rays <= {"sweep", "cell", "state", "device"}


def test_every_query_of_the_board_asks_for_what_is_exported(samples: list[Sample]) -> None:
    exported = {sample.name for sample in samples} | OF_DEVICES
    assert OURS <= _asked() <= exported


@pytest.mark.skipif(not shutil.which("prometheus"), reason="Prometheus is not installed (Debian: prometheus)")
def test_prometheus_answers_the_queries_of_the_board(scene: Scene, samples: list[Sample], tmp_path: Path) -> None:
    port = free_port()
    targets = [{"targets": [f"{scene.ip}:{scene.port}"]}]
    config = {"scrape_configs": [{"job_name": "ray", "scrape_interval": "1s", "static_configs": targets}]}
    (tmp_path / "prometheus.yml").write_text(json.dumps(config))
    command = [
        "prometheus", f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
        f"--web.listen-address=127.0.0.1:{port}",
    ]  # fmt: skip
    with (tmp_path / "log").open("wb") as log:
        prometheus = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
    try:
        waiting = {query for query in _queries() if not any(name in query for name in OF_DEVICES)}
        end = time.monotonic() + 90
        while waiting and time.monotonic() < end:
            time.sleep(1)
            waiting = {query for query in waiting if not _answer(port, query)}
        assert not waiting
    finally:
        prometheus.kill()
        prometheus.wait()


def _asked() -> set[str]:
    return {name for query in _queries() for name in re.findall(r"\bray_\w+", query)}


def _queries() -> list[str]:
    """The board's, with every sweep and every cell chosen."""
    panels = json.loads(BOARD.read_text("utf-8"))["panels"]
    queries = [target["expr"] for panel in panels for target in panel["targets"]]
    return [query.replace("$sweep", ".*").replace("$cell", ".*") for query in queries]


def _answer(port: int, query: str) -> list[Any]:
    """What comes back; none while it is starting or has scraped nothing yet. A query that is wrong raises."""
    address = f"http://127.0.0.1:{port}/api/v1/query?" + urllib.parse.urlencode({"query": query})
    try:
        with urllib.request.urlopen(address, timeout=10) as answer:
            return json.load(answer)["data"]["result"]
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return []
        raise
    except OSError:
        return []
