"""Several workers equal one: same data, same number of updates; what is scored is the model that is saved."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from safetensors.torch import load_file

from hsray.datasets.samples import Shard
from hsray.runlog import read_epochs
from hsray.strategies.assembly import assemble
from hsray.strategies.strategy import strategy
from hsray.training import RunConfig, Training, fit
from hsray.training.evaluation import evaluate
from tests.tiny import tiny_store

CPU = torch.device("cpu")


def config(root: Path, base: str) -> RunConfig:
    training = Training(lr=1e-3, batch=6, epochs=2, crop=8, crops_per_image=2, clip=1.0)
    return RunConfig(
        task="segmentation", dataset=str(root / "tiny"), seed=3, training=training, test=True,
        strategy=strategy({"base": base, "name": "small", "decoder": {"width": 4}}),
    )  # fmt: skip


def worker(rank: int, world: int, root: Path, folder: Path, base: str) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    wrap = torch.nn.parallel.DistributedDataParallel
    shard = Shard(rank, world)
    result = fit(config(root, base), folder, lambda e, m: None, shard=shard, wrap=wrap, device=CPU, cache=folder)
    torch.save(result["metrics"], folder / f"metrics-{rank}.pt")
    torch.distributed.destroy_process_group()


def shared_run(folder: Path, world: int, base: str) -> list[dict[str, float]]:
    folder.mkdir()
    mp.spawn(worker, (world, folder.parent / "data", folder, base), nprocs=world)
    return [torch.load(folder / f"metrics-{rank}.pt", weights_only=True) for rank in range(world)]


def test_three_workers_equal_one(tmp_path: Path) -> None:
    tiny_store(tmp_path / "data")
    alone = tmp_path / "alone"
    alone.mkdir()
    single = fit(config(tmp_path / "data", "unet"), alone, lambda e, m: None, cache=alone, device=CPU)["metrics"]
    found = shared_run(tmp_path / "shared", 3, "unet")
    for name in ("test/accuracy_micro", "test/jaccard_macro", "val/jaccard_macro", "val/loss", "test/loss"):
        assert found[0][name] == pytest.approx(single[name], abs=2e-3)
    losses = [[r["metrics"]["train/loss"] for r in read_epochs(folder)] for folder in (alone, tmp_path / "shared")]
    assert len(losses[0]) == 2 and losses[0] == pytest.approx(losses[1], rel=1e-4)


def test_with_batch_norm_all_workers_score_the_model_that_is_saved(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "data")
    one, two = shared_run(tmp_path / "shared", 2, "runet")
    assert all(two[name] == value for name, value in one.items() if "cost" not in name)
    assembled = assemble(config(tmp_path / "data", "runet").strategy, "segmentation", store, [0], tmp_path)
    assembled.model.load_state_dict(load_file(tmp_path / "shared" / "best.safetensors"))
    how = {"task": "segmentation", "window": None, "overlap": 0.0, "device": CPU}
    again = evaluate(assembled.model, assembled.reader, "test", **how)
    stored = np.load(tmp_path / "shared" / "confusion.npz")
    assert np.array_equal(stored["confusion_NKK"], again.confusion_NKK)
    assert again.loss == pytest.approx(one["test/loss"], rel=1e-5)
    pictured = np.load(tmp_path / "shared" / "predictions.npz")
    assert pictured["prediction_HW"].shape == (16, 16), "the picture comes from whichever worker has the image"
