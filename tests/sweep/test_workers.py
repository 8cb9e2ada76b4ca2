"""Several workers under Ray Train end with the figures of one worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hsray import train
from hsray.errors import RequestError
from hsray.experiment import Resources, parse_experiment
from hsray.sweep.cluster import cluster
from hsray.sweep.cluster.cluster import Slots
from hsray.sweep.cluster.needs import Node
from tests.sweep.sweeps import hsray, ledger_states, write_experiment


def test_two_workers_under_ray_train_equal_one(tmp_path: Path) -> None:
    fixed: dict[str, Any] = {"lr": 1e-2, "batch": 64}
    experiment = write_experiment(
        tmp_path,
        axes={"dataset": ["tiny"], "strategy": ["mlp"]},
        search={},
        fixed=fixed,
        budget={"trials": 1, "epochs": 3},
        final={"seeds": 1},
        resources={"workers": 2},
    )
    done = hsray(tmp_path, "sweep", str(experiment))
    assert done.returncode == 0, done.stderr
    assert ledger_states(tmp_path) == ["COMPLETE"]
    [path] = (tmp_path / "runs").rglob("final-*/result.json")
    two = json.loads(path.read_text())["metrics"]
    common = {"task": "spectral", "out": tmp_path / "one", "data_root": tmp_path / "data"}
    one = train("tiny", "mlp", epochs=3, **fixed, **common)["metrics"]
    for name in ("test/jaccard_macro", "test/accuracy_micro", "val/loss", "train/loss"):
        assert two[name] == pytest.approx(one[name], rel=1e-3)
    assert two["cost/device_seconds"] == pytest.approx(2 * two["cost/seconds"])


def slots(resources: Resources, *nodes: dict[str, float] | Node) -> Slots:
    have = [node if isinstance(node, Node) else Node(node) for node in nodes]
    return Slots(resources, lambda: have)


@pytest.mark.parametrize(
    ("resources", "nodes", "count", "each"),
    [
        (Resources(), [{"CPU": 8}], 8, {"CPU": 1}),
        (Resources(), [{"CPU": 16, "GPU": 4}], 4, {"CPU": 1, "GPU": 1}),
        (Resources(gpus=0.5), [{"CPU": 16, "GPU": 4}], 8, {"CPU": 1, "GPU": 0.5}),
        (Resources(gpus=0), [{"CPU": 16, "GPU": 4}], 16, {"CPU": 1}),
        (Resources(concurrent=3), [{"CPU": 8}], 3, {"CPU": 1}),
        (Resources(workers=4), [{"CPU": 9}], 2, {"CPU": 0.99}),
        (Resources(workers=2), [{"CPU": 2}], 1, {"CPU": 0.99}),
        (Resources(workers=4), [{"CPU": 2}, {"CPU": 2}], 1, {"CPU": 0.99}),
        (Resources(cpus=3), [{"CPU": 4}, {"CPU": 4}], 2, {"CPU": 3}),
        (Resources(), [{"CPU": 4}, {"CPU": 4, "GPU": 1}], 1, {"CPU": 1, "GPU": 1}),
        (Resources(custom={"disk": 0.5}), [{"CPU": 8}, {"CPU": 8, "disk": 1}], 2, {"CPU": 1, "disk": 0.5}),
        (Resources(labels={"region": "eu"}), [Node({"CPU": 4}, {"region": "eu"}), {"CPU": 8}], 4, {"CPU": 1}),
        (Resources(labels={"region": "!eu"}), [Node({"CPU": 4}, {"region": "eu"}), {"CPU": 8}], 8, {"CPU": 1}),
        (
            Resources(labels={"r": "in(a, b)"}),
            [Node({"CPU": 4}, {"r": "b"}), Node({"CPU": 1}, {"r": "c"})],
            4,
            {"CPU": 1},
        ),
    ],
)
def test_how_many_runs_fit(resources: Resources, nodes: list[Any], count: int, each: dict[str, float]) -> None:
    found = slots(resources, *nodes)
    assert found.count == count
    assert found.kinds[0].each == pytest.approx(each)


def test_what_cannot_fit_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(RequestError, match=r"4 workers × \(1 CPU, 1 GPU\), and there is room for 2"):
        slots(Resources(workers=4), {"CPU": 64, "GPU": 2})
    with pytest.raises(RequestError, match="room for 0"):
        slots(Resources(cpus=3), {"CPU": 2}, {"CPU": 2})
    with pytest.raises(RequestError, match=r"on nodes with region: eu, and there is room for 0\n.*region: us"):
        slots(Resources(labels={"region": "eu"}), Node({"CPU": 2}, {"region": "us"}))
    with pytest.raises(RequestError, match="2 workers"):  # one kind of two does not fit
        slots(Resources(workers={"strategy": {"fc": 1, "mlp": 2}}), {"CPU": 1})


def test_room_beside_what_is_under_way() -> None:
    nodes = [{"CPU": 4.0}, {"CPU": 4.0, "GPU": 2.0}]
    mixed = slots(Resources(gpus={"strategy": {"fc": 0, "vit": 1}}), *nodes)
    plain, on_gpu = mixed.kinds
    assert mixed.room([plain] * 7 + [on_gpu], plain) is False
    # Runs without a GPU are thought of on nodes without one first.
    assert mixed.room([plain] * 5 + [on_gpu], on_gpu) is True
    assert mixed.room([plain] * 6 + [on_gpu], on_gpu) is True
    assert mixed.room([plain] * 7, on_gpu) is True
    assert mixed.room([on_gpu] * 2, on_gpu) is False
    assert slots(Resources(concurrent=2), {"CPU": 4}).room([plain] * 2, plain) is False


def test_runs_with_several_workers_do_not_run_beside_others() -> None:
    found = slots(Resources(workers={"strategy": {"fc": 1, "mlp": 2}}), {"CPU": 8})
    one, two = found.kinds
    assert (one.workers, two.workers) == (1, 2)
    assert found.room([one] * 7, one) and not found.room([one] * 8, one)
    assert not found.room([one], two) and not found.room([two], one)
    assert found.room([two] * 3, two) and not found.room([two] * 4, two)


def test_nodes_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.0)
    nodes = [Node({"CPU": 2})]
    found = Slots(Resources(), lambda: list(nodes))
    [kind] = found.kinds
    assert found.room([kind], kind) and not found.room([kind] * 2, kind)
    nodes.append(Node({"CPU": 2}))
    assert found.room([kind] * 2, kind) and found.count == 4
    nodes.clear()
    assert not found.room([kind], kind) and found.count == 0
    nodes.append(Node({"CPU": 2}))
    assert not found.room([kind] * 3, kind), "one under way waits for a node itself"


def test_where_nodes_are_started_for_what_waits_one_run_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "LOOK_SECONDS", 0.0)
    monkeypatch.setenv(cluster.GROWS, "1")
    nodes = [Node({"CPU": 2})]
    found = Slots(Resources(), lambda: list(nodes))
    [kind] = found.kinds
    assert found.room([kind] * 2, kind, ahead=True) and not found.room([kind] * 3, kind, ahead=True)
    assert not found.room([kind] * 2, kind), "what has room comes first"
    nodes.append(Node({"CPU": 2}))
    assert found.room([kind] * 4, kind, ahead=True) and not found.room([kind] * 5, kind, ahead=True)
    capped = Slots(Resources(concurrent=2), lambda: list(nodes[:1]))
    assert not capped.room([kind] * 2, kind, ahead=True)
    monkeypatch.setenv(cluster.GROWS, "0")
    assert not Slots(Resources(), lambda: list(nodes)).room([kind] * 4, kind, ahead=True)


def test_a_run_that_waits_for_a_node_keeps_no_other_kind_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(cluster.GROWS, "1")
    found = slots(Resources(gpus={"strategy": {"mlp": 1, "fc": 0}}), {"CPU": 4, "GPU": 1})
    gpu, cpu = sorted(found.kinds, key=lambda kind: -kind.gpu)
    assert found.room([gpu], gpu, ahead=True) and not found.room([gpu, gpu], gpu, ahead=True)
    assert found.room([gpu, gpu], cpu, ahead=True), "three cores are free beside the run that waits for a GPU"
    assert not found.room([gpu, gpu, cpu, cpu, cpu], cpu, ahead=True)


def test_resources_follow_an_axis() -> None:
    content = {
        "name": "mixed", "task": "spectral", "axes": {"dataset": ["a"], "strategy": ["fc", "mlp"]},
        "resources": {"workers": {"strategy": {"fc": 1, "mlp": 2}}, "cpus": {"dataset": {"a": 0.5}}},
    }  # fmt: skip
    resources = parse_experiment(content).resources
    found = resources.of({"dataset": "a", "strategy": "mlp"})
    assert (found.workers, found.cpus) == (2, 0.5)
    assert [(kind.workers, kind.cpus) for kind in resources.kinds()] == [(1, 0.5), (2, 0.5)]
    for wrong, message in (
        ({"strategy": {"fc": 1}}, "resources.workers: no value for strategy mlp"),
        ({"strategy": {"fc": 1, "mlp": 0}}, r"greater than or equal to 1 \(got 0\)\n.*resources.workers.strategy.mlp"),
        ({"model": {"fc": 1}}, "model is no axis"),
        (0, r"greater than or equal to 1 \(got 0\)\n  where: experiment: resources.workers$"),
    ):
        with pytest.raises(RequestError, match=message):
            parse_experiment(content | {"resources": {"workers": wrong}})
