"""Pretraining: it learns, goes on after a kill to the same result, and is one run in MLflow."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from mlflow import MlflowClient
from safetensors.torch import load_file

from hsray.errors import RequestError, TrainingFailed
from hsray.models.hypersl import HyperSL
from hsray.pretraining import tracked
from hsray.pretraining.recipe import Recipe
from hsray.pretraining.run import pretrain
from hsray.strategies.weights import load_weights
from tests.pretraining.tiny import recipe, tiny_data

MASKED = {"masked": 1, "describe": 0, "mask": 0.5}
ISOMETRY = {"masked": 0, "describe": 0, "isometry": 1, "pool": 64}
NOBODY = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_data(tmp_path_factory.mktemp("spectra"))


@pytest.mark.parametrize("objective", [MASKED, ISOMETRY])
def test_the_loss_falls(data: Path, tmp_path: Path, objective: dict[str, object]) -> None:
    losses: list[float] = []
    asked = recipe(steps=120, batch=32, lr=5e-3, objective=objective, augmentation={"slope": 0})
    pretrain(asked, data, tmp_path / "w", lambda step, steps, loss: losses.append(loss))
    assert len(losses) == 120
    assert np.mean(losses[-15:]) < 0.5 * np.mean(losses[:5])


def test_the_seed_decides(data: Path, tmp_path: Path) -> None:
    paths = [pretrain(recipe(steps=3, seed=seed), data, tmp_path / f"w{i}") for i, seed in enumerate((5, 5, 6))]
    same, again, other = (path.read_bytes() for path in paths)
    assert same == again
    assert same != other


def test_what_is_written_belongs_together(data: Path, tmp_path: Path) -> None:
    weights = pretrain(recipe(steps=3), data, tmp_path / "w.safetensors")
    metadata = json.loads((tmp_path / "w.json").read_text())
    encoder = HyperSL(20, torch.linspace(400, 900, 20), **metadata["options"])
    load_weights(encoder, str(weights), metadata["sha256"])
    assert metadata["seen"] == ["one", "two", "cubes"]
    assert metadata["spectra"] == 400 + 768
    assert Recipe.model_validate(metadata["recipe"]) == recipe(steps=3)
    card = (tmp_path / "w.md").read_text()
    assert "| two | made up | test | 200 | 59 | 380–1020 | 1 | none |" in card
    assert "NT-Xent" in card and "isometry" in card
    assert (tmp_path / "w.png").stat().st_size < 60_000


def test_a_kill_loses_nothing_and_leaves_one_run_in_mlflow(data: Path, tmp_path: Path) -> None:
    asked = recipe(steps=120, checkpoint_every=10)
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(asked.model_dump(mode="json")))
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [sys.executable, "-m", "hsray.cli", "pretrain", "recipe.yaml", "--data", str(data), "--out", "cut"]
    threads = os.environ | {"OMP_NUM_THREADS": str(torch.get_num_threads())}
    process = subprocess.Popen([*command, "--tracking-uri", uri], cwd=tmp_path, env=threads)
    while not (tmp_path / "cut.checkpoint").exists():
        assert process.poll() is None
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "cut.safetensors").exists()

    steps: list[int] = []
    weights, problem = tracked.run(asked, data, tmp_path / "cut", uri, lambda step, n, loss: steps.append(step))
    assert problem is None
    assert steps[0] % 10 == 1 and steps[0] > 1  # it went on from a checkpoint
    whole = load_file(pretrain(asked, data, tmp_path / "whole"))
    cut = load_file(weights)
    assert whole.keys() == cut.keys()
    assert all(torch.equal(whole[name], cut[name]) for name in whole)
    assert not (tmp_path / "cut.checkpoint").exists()

    client = MlflowClient(uri)
    experiment = client.get_experiment_by_name("pretraining")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    assert run.data.params["objective.isometry"] == "0.5"
    history = {metric.step: metric.value for metric in client.get_metric_history(run.info.run_id, "loss")}
    assert sorted(history) == list(range(1, 121))
    assert {"cut.safetensors", "cut.md", "cut.json"} <= {one.path for one in client.list_artifacts(run.info.run_id)}


def test_training_goes_on_without_mlflow_and_the_same_request_delivers_later(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tracked, "DELIVERY_S", 0.5)
    weights, problem = tracked.run(recipe(steps=3), data, tmp_path / "w", NOBODY)
    assert weights.exists()
    assert problem is not None and "does not answer" in problem
    content = weights.read_bytes()
    monkeypatch.setattr(tracked, "DELIVERY_S", 30.0)
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert tracked.run(recipe(steps=3), data, tmp_path / "w", uri) == (weights, None)
    assert weights.read_bytes() == content
    assert len(MlflowClient(uri).search_experiments(filter_string="name = 'pretraining'")) == 1
    with pytest.raises(RequestError, match="the output exists"):
        tracked.run(recipe(steps=4), data, tmp_path / "w", uri)


def test_a_loss_that_is_not_finite_fails_and_leaves_no_weights(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match="at step"):
        pretrain(recipe(lr=1e30, clip=1e30, steps=50), data, tmp_path / "w")
    assert not (tmp_path / "w.safetensors").exists()


class StopError(Exception):
    """Stands for a kill."""


def test_an_output_that_exists_and_a_foreign_checkpoint_are_refused(data: Path, tmp_path: Path) -> None:
    (tmp_path / "there.safetensors").touch()
    with pytest.raises(RequestError, match="the output exists"):
        pretrain(recipe(), data, tmp_path / "there")

    def stop(step: int, steps: int, loss: float) -> None:
        if step == 11:
            raise StopError

    with pytest.raises(StopError):
        pretrain(recipe(), data, tmp_path / "cut", stop)
    with pytest.raises(RequestError, match="another recipe"):
        tracked.run(recipe(lr=1e-4), data, tmp_path / "cut", NOBODY)
    assert not (tmp_path / "cut.run").exists()  # nothing was written
    (tmp_path / "cut.checkpoint").write_bytes(b"torn")
    with pytest.raises(RequestError, match="cannot be read"):
        pretrain(recipe(), data, tmp_path / "cut")


@pytest.mark.slow
def test_two_workers_learn_from_the_same_batches(data: Path, tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    one, _ = tracked.run(recipe(), data, tmp_path / "one", uri)
    two, problem = tracked.run(recipe(workers=2), data, tmp_path / "two", uri)
    assert problem is None
    first, second = (json.loads(path.with_suffix(".json").read_text())["loss"] for path in (one, two))
    # Equal but for batch norm, which sees a worker's half on a CPU.
    np.testing.assert_allclose([loss for _, loss in second], [loss for _, loss in first], rtol=0.1)
