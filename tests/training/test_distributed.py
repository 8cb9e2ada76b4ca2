"""Several workers equal one: same data, same number of updates; what is scored is the model that is saved."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.multiprocessing as mp
from safetensors.torch import load_file

from hsray.datasets.samples import Shard
from hsray.errors import RunStopped
from hsray.runlog import read_epochs
from hsray.strategies.assembly import assemble
from hsray.strategies.strategy import strategy
from hsray.training import RunConfig, Training, fit, stopping
from hsray.training.evaluation import evaluate
from tests.tiny import tiny_store

CPU = torch.device("cpu")


def config(root: Path, base: str) -> RunConfig:
    training = Training(lr=1e-3, batch=6, epochs=2, crop=8, crops_per_image=2, clip=1.0)
    return RunConfig(
        task="segmentation", dataset=str(root / "tiny"), seed=3, training=training, test=True,
        strategy=strategy({"base": base, "name": "small", "decoder": {"width": 4}}),
    )  # fmt: skip


def worker(rank: int, world: int, root: Path, folder: Path, base: str, stops: tuple[int, ...]) -> None:
    torch.set_num_threads(1)
    stopping.EVERY = 0.0
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=world)
    wrap = torch.nn.parallel.DistributedDataParallel
    shard = Shard(rank, world)
    how = {"shard": shard, "wrap": wrap, "device": CPU, "cache": folder}
    result = fit(config(root, base), folder, lambda e, m: None, **how)
    torch.save(result["metrics"], folder / f"metrics-{rank}.pt")
    if stops:
        (folder / "stopped").mkdir(exist_ok=True)
        for questions in stops:  # the last worker alone is asked to stop, after so many questions
            asked = iter(range(questions - 1 if rank == world - 1 else 1000))
            with pytest.raises(RunStopped):
                fit(config(root, base), folder / "stopped", lambda e, m: None, stop=partial(_ended, asked), **how)
            assert (folder / "stopped" / "last.pt").exists(), "nobody ends before it is saved"
        fit(config(root, base), folder / "stopped", lambda e, m: None, **how)
    torch.distributed.destroy_process_group()


def _ended(numbers: Iterator[int]) -> bool:
    return next(numbers, None) is None


def shared_run(folder: Path, world: int, base: str, stops: tuple[int, ...] = ()) -> list[dict[str, float]]:
    folder.mkdir()
    mp.spawn(worker, (world, folder.parent / "data", folder, base, stops), nprocs=world)
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


def test_with_batch_norm_all_workers_score_the_model_that_is_saved_and_stop_together(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "data")
    one, two = shared_run(tmp_path / "shared", 2, "runet", stops=(1, 3, 2, 2))
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
    maps = np.load(tmp_path / "shared" / "maps.npz")
    assert sorted(maps["images_N"]) == store.images("test"), "every test image, whichever worker read it"
    for number, image in enumerate(maps["images_N"]):
        labels_HW, labelled_HW = store.labels_HW("test", image), store.labels_HW("test", image) != store.ignore_id
        pairs = labels_HW * store.num_classes + maps[f"prediction_{number}_HW"]
        counts = np.bincount(pairs[labelled_HW].ravel(), minlength=store.num_classes**2)
        matrix_KK = stored["confusion_NKK"][list(stored["images_N"]).index(image)]
        assert np.array_equal(counts.reshape(matrix_KK.shape), matrix_KK)
    # Stopped in an epoch, while validating, and while reading the test set, all ends as if it had not been.
    weights, losses = zip(*((load_file(f / "best.safetensors"), losses_of(f)) for f in folders(tmp_path)), strict=True)
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert losses[0] == losses[1]


def folders(tmp_path: Path) -> tuple[Path, Path]:
    return tmp_path / "shared", tmp_path / "shared" / "stopped"


def losses_of(folder: Path) -> list[tuple[float, float]]:
    return [(record["metrics"]["train/loss"], record["metrics"]["val/loss"]) for record in read_epochs(folder)]
