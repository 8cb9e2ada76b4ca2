"""What a cluster lacks for a sweep is said by `plan`, and by `sweep` before anything is trained."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.reliability.cluster.sweeping import SETTINGS
from tests.reliability.raylets import Raylets, namespaces_work
from tests.sweep.sweeps import write_experiment
from tests.tiny import tiny_store

pytestmark = pytest.mark.skipif(not namespaces_work(), reason="needs root and namespaces")


def hsray(folder: Path, cluster: Raylets, *arguments: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if k not in ("MLFLOW_TRACKING_URI", "HSRAY_DATA", "HSRAY_RUNS")}
    env = kept | SETTINGS | cluster.env | {"PYTHONWARNINGS": "ignore", "COLUMNS": "160"}
    command = [sys.executable, "-m", "hsray.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=env, capture_output=True, text=True, check=False, timeout=400)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_experiment(tmp_path)
    (tmp_path / "runs").mkdir()
    return tmp_path


@pytest.fixture
def cluster() -> Iterator[Raylets]:
    with Raylets(1, env=SETTINGS) as cluster:
        yield cluster


def test_nodes_that_see_the_same_are_counted(folder: Path, cluster: Raylets) -> None:
    cluster.add(2, env=SETTINGS)
    planned = hsray(folder, cluster, "plan", "experiment.yaml")
    assert planned.returncode == 0, planned.stderr
    assert "3 at a time on the cluster (2 nodes, 3 CPU, 0 GPU)" in planned.stdout
    assert not list((folder / "runs").iterdir()), "nothing is written"
    write_experiment(folder, resources={"workers": 4})
    refused = hsray(folder, cluster, "plan", "experiment.yaml")
    assert refused.returncode == 2 and "4 workers × (1 CPU, 0 GPU), and there is room for 3" in refused.stderr


def test_what_a_node_does_not_see_is_named_with_the_node(folder: Path, cluster: Raylets) -> None:
    apart = cluster.add(1, env=SETTINGS, mounts={folder / "data": None, folder / "runs": None})
    for command in ("plan", "sweep"):
        refused = hsray(folder, cluster, command, "experiment.yaml")
        assert refused.returncode == 2, refused.stderr
        for words in ("2 problems", "a dataset cannot be opened on a node", "a folder is not shared with a node"):
            assert words in refused.stderr
        assert str(folder / "data" / "tiny") in refused.stderr and "node " in refused.stderr
        assert "Traceback" not in refused.stderr
    assert not list(folder.rglob("spec.json")) and not list(folder.rglob(".preflight-*"))
    apart.kill()


def test_another_dataset_under_the_same_name_is_noticed(folder: Path, cluster: Raylets, tmp_path: Path) -> None:
    other = tiny_store(tmp_path / "elsewhere", seed=7).path.parent
    cluster.add(1, env=SETTINGS, mounts={folder / "data": other})
    refused = hsray(folder, cluster, "plan", "experiment.yaml")
    assert refused.returncode == 2 and "a dataset is another one on a node" in refused.stderr, refused.stderr


def test_several_workers_need_the_dashboard(folder: Path) -> None:
    write_experiment(folder, resources={"workers": 2})
    with Raylets(2, dashboard=False, env=SETTINGS) as cluster:
        refused = hsray(folder, cluster, "plan", "experiment.yaml", "--format", "json")
        assert refused.returncode == 2 and "dashboard" in refused.stderr and not refused.stdout, refused.stderr
        write_experiment(folder)
        planned = hsray(folder, cluster, "plan", "experiment.yaml", "--format", "json")
        assert planned.returncode == 0 and json.loads(planned.stdout)["runs_at_a_time"] == 2
