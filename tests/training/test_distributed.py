"""Several workers equal one: same data, same number of updates, same weights, same figures."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
import torch.multiprocessing as mp
from hsray.datasets.samples import Shard
from hsray.strategies.strategy import strategy
from hsray.training import RunConfig, Training, fit
from hsray.training.runlog import read_epochs
from tests.tiny import tiny_store


def config(root: Path, epochs: int = 2) -> RunConfig:
    training = Training(lr=1e-3, batch=4, epochs=epochs, crop=8, crops_per_image=2, clip=1.0)
    return RunConfig(
        task="segmentation", dataset=str(root / "tiny"), seed=3, training=training, test=True,
        strategy=strategy({"base": "unet", "name": "small", "decoder": {"width": 4}}),
    )  # fmt: skip


def worker(rank: int, world: int, root: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    counted: list[int] = []
    wrap = torch.nn.parallel.DistributedDataParallel
    result = fit(config(root), folder, lambda e, m: counted.append(e), shard=Shard(rank, world), wrap=wrap,
                 device=torch.device("cpu"), cache=folder)  # fmt: skip
    torch.save(result["metrics"], folder / f"metrics-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_workers_equal_one(tmp_path: Path, world: int) -> None:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    root = tmp_path / "data"
    tiny_store(root)
    alone, shared = tmp_path / "alone", tmp_path / "shared"
    alone.mkdir()
    shared.mkdir()
    single = fit(config(root), alone, lambda e, m: None, cache=alone, device=torch.device("cpu"))
    mp.spawn(worker, (world, root, shared), nprocs=world)
    found = [torch.load(shared / f"metrics-{rank}.pt", weights_only=True) for rank in range(world)]
    for other in found[1:]:
        assert all(other[name] == value for name, value in found[0].items() if "cost" not in name)
    for name in ("test/accuracy_micro", "test/jaccard_macro", "val/jaccard_macro", "val/loss", "test/loss"):
        assert found[0][name] == pytest.approx(single["metrics"][name], abs=2e-3)
    one, many = read_epochs(alone), read_epochs(shared)
    assert len(one) == len(many) == 2
    assert [r["metrics"]["train/loss"] for r in one] == pytest.approx(
        [r["metrics"]["train/loss"] for r in many], rel=1e-4
    )
