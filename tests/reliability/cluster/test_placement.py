"""Runs go where resources and labels say, and get the share of a GPU that they asked for."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hsray.errors import RequestError
from tests.reliability.cluster.sweeping import SETTINGS, Sweep, busy, until
from tests.reliability.raylets import Raylets


@pytest.fixture(scope="module")
def nodes() -> Iterator[Raylets]:
    with Raylets(1, env=SETTINGS, labels={"region": "us"}) as cluster:
        cluster.eu = cluster.add(
            2, env=SETTINGS, gpus=2, labels={"region": "eu"}, resources={"accelerator_type:A100": 1}
        )
        yield cluster


def placed(cluster: Raylets, folder: Path, resources: dict[str, Any]) -> list[dict[str, Any]]:
    """Where the eight runs of a sweep with these resources ran."""
    command = [sys.executable, "-m", "tests.reliability.cluster.placed", str(folder), json.dumps(resources)]
    env = {**os.environ, **cluster.env, "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=400, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("=")]
    if not lines:
        raise RequestError(done.stderr)
    return json.loads(lines[-1][1:])


def test_labels_and_custom_resources(nodes: Raylets, tmp_path: Path) -> None:
    found = placed(nodes, tmp_path, {"gpus": 0, "labels": {"region": "eu"}, "custom": {"accelerator_type:A100": 0.001}})
    assert len(found) == 8
    assert {place["labels"]["region"] for place in found} == {"eu"}


def test_shares_of_a_gpu_beside_runs_without(nodes: Raylets, tmp_path: Path) -> None:
    found = placed(nodes, tmp_path, {"cpus": 0.5, "gpus": {"strategy": {"fc": 0, "mlp": 0.5}}})
    assert len(found) == 8
    on_gpu = [place for place in found if place["strategy"] == "mlp"]
    assert {place["gpus"] for place in on_gpu} <= {"0", "1"}, "each sees one GPU"
    assert {place["labels"]["region"] for place in on_gpu} == {"eu"}
    assert not any(place["gpus"] for place in found if place["strategy"] == "fc")
    together = max(sum(a["from"] <= b["from"] < a["to"] for a in on_gpu) for b in on_gpu)
    assert together >= 3, "a GPU is shared by two: more runs at a time than there are GPUs"


def test_what_no_node_offers_is_refused(nodes: Raylets, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match=r"region: asia, and there is room for 0\n.*(us.*eu|eu.*us)"):
        placed(nodes, tmp_path, {"labels": {"region": "asia"}})


def test_ray_train_on_nodes_with_a_label(nodes: Raylets, tmp_path: Path) -> None:
    resources = {"workers": 2, "cpus": 0.5, "gpus": 0, "labels": {"region": "us"}}
    sweep = Sweep(
        tmp_path, nodes, budget={"trials": 1, "epochs": 6}, search={}, final={"seeds": 0}, resources=resources
    )
    sweep.start()
    until(lambda: len(nodes.head.workers("RayTrainWorker")) == 2, what="two workers on the head")
    assert not [one for one in busy(nodes.eu) if "RayTrainWorker" in one.name()]
    assert sweep.wait() == 0, sweep.said
    sweep.check(1, finals=0)
