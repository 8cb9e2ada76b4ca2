"""An actor that dies as it is handed on to the next run: Tune gives that run up, the sweep does not."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hsray.experiment import parse_experiment
from hsray.sweep.cells import cells
from hsray.sweep.cluster.cluster import cluster
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.drive import drive
from tests.benchmarks.empty import run_empty
from tests.tiny import tiny_store

TRIALS = 4


def dies_when_handed_on(config: dict[str, Any]) -> None:
    """A run whose actor is killed once, as it is given the next one."""
    flag = Path(os.environ["HSRAY_TEST_FOLDER"]) / "killed"
    [trainable] = {type(one) for one in gc.get_objects() if type(one).__name__ == "ImplicitFunc"}  # this actor's class

    def reset(self: Any, new_config: dict[str, Any]) -> bool:
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
        return True

    if not flag.exists():
        trainable.reset_config = reset
    run_empty(config)


def main(folder: Path) -> None:
    content = {
        "name": "handed-on", "task": "spectral", "search": {"lr": {"log": [1e-4, 1e-1]}},
        "axes": {"dataset": ["tiny"], "strategy": ["fc"]}, "final": {"seeds": 0}, "resources": {"concurrent": 1},
        "budget": {"trials": TRIALS, "epochs": 2, "halving": False},
    }  # fmt: skip
    experiment = parse_experiment(content)
    with cluster(experiment.resources) as slots:
        dispatcher = Dispatcher(experiment, cells(experiment, folder / "data"), folder / "runs", folder / "cache")
        drive(dispatcher, experiment.resources, slots, folder / "runs", dies_when_handed_on)
    assert (folder / "killed").exists(), "no actor was handed on"
    assert not dispatcher.lost, [lost.reason for lost in dispatcher.lost]
    assert dispatcher.left == 0


@pytest.mark.slow
def test_a_run_whose_actor_dies_as_it_is_handed_on_is_started_elsewhere(tmp_path: Path) -> None:
    tiny_store(tmp_path / "data")
    (tmp_path / "runs").mkdir()
    environment = os.environ | {"HSRAY_TEST_FOLDER": str(tmp_path)}
    command = [sys.executable, "-m", "tests.sweep.test_handed_on", str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((tmp_path / "runs").rglob("result.json"))) == TRIALS


if __name__ == "__main__":
    main(Path(sys.argv[1]))
