"""One run: it repeats itself, goes on after a crash as if nothing had happened, and fails with a reason."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import hsray
from hsray.errors import RequestError, TrainingFailed
from hsray.runlog import read_epochs
from hsray.scores import scores
from tests.tiny import tiny_store

SMALL = {"decoder.width": 4, "crop": 8, "batch": 4, "lr": 3e-3}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    tiny_store(root)
    return root


def figures(result: dict[str, Any]) -> dict[str, float]:
    return {name: value for name, value in result["metrics"].items() if not name.startswith("cost/")}


@pytest.mark.parametrize("strategy", ["runet", "efficientnet-imagenet", "hypersl-runet"])
def test_equal_seeds_give_equal_runs_and_others_do_not(data: Path, tmp_path: Path, strategy: str) -> None:
    values = {k: v for k, v in SMALL.items() if k != "decoder.width" or strategy != "efficientnet-imagenet"}
    runs = [
        hsray.train("tiny", strategy, out=tmp_path / str(n), data_root=data, epochs=2, seed=seed, **values)
        for n, seed in enumerate((5, 5, 6))
    ]
    assert figures(runs[0]) == figures(runs[1])
    assert figures(runs[0]) != figures(runs[2])
    one, two = (load_file(tmp_path / n / "best.safetensors") for n in "01")
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_stored_confusion_matrices_give_the_scores(data: Path, tmp_path: Path) -> None:
    result = hsray.train("tiny", "mlp", task="spectral", out=tmp_path / "run", data_root=data, epochs=2, lr=1e-2)
    stored = np.load(tmp_path / "run" / "confusion.npz")
    again = scores(stored["confusion_NKK"].sum(0), int(stored["ignore_id"]))
    assert again == {name: result["metrics"][f"test/{name}"] for name in again}
    assert list(stored["images_N"]) == hsray.open_store("tiny", data).images("test")
    assert again["accuracy_micro"] > 0.9, "three clean spectra are easy to tell apart"


RUN = """
import sys, time, hsray
def slowly(epoch, metrics): time.sleep(0.15)
hsray.train("tiny", "runet", out=sys.argv[2], data_root=sys.argv[1], epochs=12, patience=12, report=slowly,
            **{"decoder.width": 4, "crop": 8, "batch": 4, "lr": 3e-3})
"""


def test_a_killed_run_goes_on_and_ends_as_if_never_killed(data: Path, tmp_path: Path) -> None:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "HSRAY_CHECKPOINT_SECONDS": "0"}
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    subprocess.run([sys.executable, "-c", RUN, data, whole], check=True, env=environment)
    process = subprocess.Popen([sys.executable, "-c", RUN, data, killed], env=environment)
    while len(read_epochs(killed)) < 5 and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = len(read_epochs(killed))
    assert 5 <= reached < 12
    subprocess.run([sys.executable, "-c", RUN, data, killed], check=True, env=environment)
    one, two = read_epochs(whole), read_epochs(killed)
    assert [r["epoch"] for r in two] == list(range(12))
    plain = [[{k: v for k, v in r["metrics"].items() if "cost" not in k} for r in log] for log in (one, two)]
    assert plain[0] == plain[1]
    assert (whole / "best.safetensors").read_bytes() == (killed / "best.safetensors").read_bytes()
    assert not (killed / "last.pt").exists(), "a finished run needs no checkpoint"


def test_a_loss_that_is_not_finite_ends_the_run_with_its_reason(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="loss is nan") as caught:
        hsray.train("tiny", "unet", out=tmp_path / "run", data_root=data, epochs=20, **{**SMALL, "lr": 1e12})
    assert "lower the learning rate" in str(caught.value)


def test_early_stopping_keeps_the_best_epoch(data: Path, tmp_path: Path) -> None:
    result = hsray.train(
        "tiny", "mlp", task="spectral", out=tmp_path / "r", data_root=data, epochs=60, patience=2, lr=1e-2
    )
    log = read_epochs(tmp_path / "r")
    assert len(log) < 60
    scores_by_epoch = [record["metrics"]["val/jaccard_macro"] for record in log]
    assert result["best_epoch"] == int(np.argmax(scores_by_epoch)) == len(log) - 3


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dataset": "nowhere"}, "nowhere"),
        ({"strategy": "runett"}, "did you mean 'runet'"),
        ({"lr": -1.0}, "lr"),
        ({"depth": 3}, "has no hyperparameter 'depth'"),
        ({"fraction": 0.01}, "leaves no image"),
        ({"strategy": "unet", "task": "spectral"}, "takes a map"),
        ({"strategy": {"base": "hypersl-full", "name": "x", "encoder": {"width": 32}}}, "do not fit"),
        ({"strategy": {"base": "hypersl-full", "name": "x", "encoder": {"weights": "no/such.pt"}}}, "no/such.pt"),
    ],
)
def test_bad_requests_are_refused_in_one_sentence(data: Path, tmp_path: Path, arguments: dict, said: str) -> None:
    request = {"dataset": "tiny", "strategy": "mlp", "epochs": 1, **arguments}
    with pytest.raises(RequestError, match=said):
        hsray.train(out=tmp_path / "run", data_root=data, **request)


def test_a_finished_run_is_not_overwritten(data: Path, tmp_path: Path) -> None:
    hsray.train("tiny", "mlp", out=tmp_path / "run", data_root=data, epochs=1)
    with pytest.raises(RequestError, match="a finished run lies here"):
        hsray.train("tiny", "mlp", out=tmp_path / "run", data_root=data, epochs=1)
