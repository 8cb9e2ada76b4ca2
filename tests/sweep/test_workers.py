"""Several workers under Ray Train end with the figures of one worker."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hsray import train
from hsray.errors import RequestError
from hsray.experiment import Resources
from hsray.sweep.cluster import slots
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


@pytest.mark.parametrize(
    ("resources", "nodes", "count", "cpu", "gpu"),
    [
        (Resources(), [{"CPU": 8}], 8, 1, 0),
        (Resources(), [{"CPU": 16, "GPU": 4}], 4, 1, 1),
        (Resources(gpus=0.5), [{"CPU": 16, "GPU": 4}], 8, 1, 0.5),
        (Resources(gpus=0), [{"CPU": 16, "GPU": 4}], 16, 1, 0),
        (Resources(concurrent=3), [{"CPU": 8}], 3, 1, 0),
        (Resources(workers=4), [{"CPU": 9}], 2, 0.99, 0),
        (Resources(workers=2), [{"CPU": 2}], 1, 0.99, 0),
        (Resources(workers=4), [{"CPU": 2}, {"CPU": 2}], 1, 0.99, 0),
        (Resources(cpus=3), [{"CPU": 4}, {"CPU": 4}], 2, 3, 0),
        (Resources(), [{"CPU": 4}, {"CPU": 4, "GPU": 1}], 1, 1, 1),
    ],
)
def test_how_many_runs_fit(
    resources: Resources, nodes: list[dict[str, float]], count: int, cpu: float, gpu: float
) -> None:
    found = slots(resources, nodes)
    assert (found.count, found.cpu, found.gpu) == (count, pytest.approx(cpu), gpu)


def test_what_cannot_fit_is_refused_with_the_arithmetic() -> None:
    with pytest.raises(RequestError, match=r"4 workers × \(1 CPU, 1 GPU\), and there is room for 2"):
        slots(Resources(workers=4), [{"CPU": 64, "GPU": 2}])
    with pytest.raises(RequestError, match="room for 0"):
        slots(Resources(cpus=3), [{"CPU": 2}, {"CPU": 2}])
