"""Out of memory on a device: half the batch at a time, once, with the same updates; then a reason and what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hsray.datasets.samples import Shard
from hsray.errors import TrainingFailed
from hsray.runlog import read_epochs
from hsray.strategies.strategy import strategy
from hsray.training import RunConfig, Training, evaluation, fit
from hsray.training.memory import OutOfMemory, memory_watched, retries
from hsray.training.run import Run
from hsray.training.stopping import Stop, never
from tests.greedy import Greedy
from tests.tiny import tiny_store

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("data")).path


def config(data: Path, **options: int) -> RunConfig:
    recipe = strategy({"base": "fc", "name": "hungry", "decoder": {"name": "greedy", **options}})
    training = Training(lr=1e-2, batch=64, epochs=4, pixels_per_image=60)
    return RunConfig(task="spectral", dataset=str(data), strategy=recipe, training=training)


def go(config: RunConfig, folder: Path) -> tuple[dict[str, Any], list[int]]:
    folder.mkdir()
    epochs: list[int] = []
    return fit(config, folder, lambda epoch, metrics: epochs.append(epoch), device=CPU), epochs


def losses(folder: Path) -> list[float]:
    return [record["metrics"][name] for record in read_epochs(folder) for name in ("train/loss", "val/loss")]


def test_half_the_batch_at_a_time_gives_the_same_training(data: Path, tmp_path: Path) -> None:
    free, _ = go(config(data), tmp_path / "free")
    tight, epochs = go(config(data, most=40), tmp_path / "tight")
    assert tight["retries"] == [
        {
            "reason": "out of memory in training: CUDA out of memory. Tried to allocate 60 GiB",
            "accumulate": 2,
            "shrink": 1,
        }
    ]
    assert tight["state"] == "COMPLETE" and "retries" not in free and epochs == [0, 1, 2, 3]
    assert losses(tmp_path / "tight") == pytest.approx(losses(tmp_path / "free"), rel=1e-4)


def test_a_second_time_the_run_fails_and_says_what_to_do(data: Path, tmp_path: Path) -> None:
    with pytest.raises(TrainingFailed, match=r"ran out of memory in training, also with half the batch") as caught:
        go(config(data, most=20), tmp_path / "run")
    assert "lower `batch` (now 64)" in str(caught.value)


@pytest.mark.parametrize("content", ["", '[{"accum', "3", "[]", '[{"accumulate": 2}]'])
def test_a_damaged_note_of_the_retry_is_none(tmp_path: Path, content: str) -> None:
    (tmp_path / "retries.json").write_text(content)
    assert retries(tmp_path) == []


def test_a_damaged_note_of_the_retry_does_not_end_the_run(data: Path, tmp_path: Path) -> None:
    (tmp_path / "retries.json").write_bytes(b"\0" * 80)
    result = fit(config(data, most=40), tmp_path, lambda epoch, metrics: None, device=CPU)
    assert result["state"] == "COMPLETE" and [retry["accumulate"] for retry in result["retries"]] == [2]


def test_it_goes_on_from_the_checkpoint_and_remembers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HSRAY_CHECKPOINT_SECONDS", "0")
    run, epochs = tmp_path / "run", []
    run.mkdir()

    def report(epoch: int, metrics: dict[str, float]) -> None:
        epochs.append(epoch)
        monkeypatch.setattr(Greedy, "ceiling", 40 if epoch >= 1 else 10**6)
        if epoch == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(config(data), run, report, device=CPU)
    assert epochs == [0, 1, 2], "the epochs before were not trained again"
    epochs.clear()
    again = fit(config(data), run, lambda epoch, metrics: epochs.append(epoch), device=CPU)
    assert epochs == [3] and [retry["accumulate"] for retry in again["retries"]] == [2], "a restart runs out no more"


def test_out_of_memory_in_evaluation_makes_its_windows_smaller(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluation, "PIXELS_AT_ONCE", 256)
    go(config(data), tmp_path / "free")
    tight, epochs = go(config(data, most_scored=200), tmp_path / "tight")
    assert [(retry["accumulate"], retry["shrink"]) for retry in tight["retries"]] == [(1, 2)]
    assert epochs == [0, 1, 2, 3]
    assert losses(tmp_path / "tight") == pytest.approx(losses(tmp_path / "free"), rel=1e-6)


@pytest.mark.parametrize("batch", [2, 5, 12])
def test_accumulated_gradients_are_those_of_the_whole_batch(data: Path, tmp_path: Path, batch: int) -> None:
    recipe = strategy({"base": "unet", "name": "small", "decoder": {"width": 4}})
    wanted = RunConfig(task="segmentation", dataset=str(data), strategy=recipe, training=Training(batch=batch, crop=8))
    gradients = []
    for accumulate in (1, 2):
        run = Run(wanted, tmp_path, Shard(), CPU, None, lambda model: model, Stop(never), accumulate)
        run.model.train()
        x_BCHW, labels_BHW = next(run.batches.epoch(0))
        loss = run._update(x_BCHW, labels_BHW, int((labels_BHW != run.store.ignore_id).sum()))
        gradients.append([torch.tensor(loss), *(parameter.grad for parameter in run.model.parameters())])
    for whole, parts in zip(*gradients, strict=True):
        torch.testing.assert_close(parts, whole, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory."),
        MemoryError("Unable to allocate 3 GiB for an array"),
        RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory: you tried"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 4 bytes"),
        RuntimeError("cuDNN error: CUDNN_STATUS_ALLOC_FAILED"),
    ],
)
def test_wants_of_memory_are_told_from_other_errors(error: Exception) -> None:
    with pytest.raises(OutOfMemory), memory_watched("training"):
        raise error
    with pytest.raises(RuntimeError, match="sizes"), memory_watched("training"):
        raise RuntimeError("sizes of tensors must match")


def test_the_processors_own_allocator_is_understood() -> None:
    with pytest.raises(OutOfMemory), memory_watched("building"):
        torch.empty(2**60, dtype=torch.uint8)
