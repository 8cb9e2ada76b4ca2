"""Several workers: the same loop under Ray Train, each with its share of every batch."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import torch
from ray import train
from ray.train.torch import TorchTrainer, get_device

from hsray.datasets.samples import Shard
from hsray.errors import HsrayError, TrainingFailed
from hsray.experiment import Resources
from hsray.pretraining.recipe import Recipe
from hsray.pretraining.run import pretrain
from hsray.pretraining.runfolder import RunFolder
from hsray.sweep.cluster.cluster import cluster
from hsray.sweep.cluster.torchgroup import GroupConfig

MACHINE_RETRIES = 3


def pretrain_distributed(recipe: Recipe, data: Path, out: Path, folder: RunFolder) -> None:
    """Pretrain on a local Ray, or the cluster of RAY_ADDRESS, with `data` and `out` where all nodes see them.

    A worker that dies is started again, with the others, from the last checkpoint. Raises TrainingFailed
    where it fails by its own doing, HsrayError where the machines fail.
    """
    storage = folder.path.resolve() / "ray"  # Ray's own files; of no use afterwards
    with cluster(Resources(workers=recipe.workers)) as slots:
        trainer = TorchTrainer(
            _train_worker,
            train_loop_config={
                "recipe": recipe.model_dump_json(),
                "data": str(data.resolve()),
                "out": str(out.resolve()),
                "folder": str(folder.path.resolve()),
            },
            torch_config=GroupConfig(),
            scaling_config=train.ScalingConfig(
                num_workers=recipe.workers,
                use_gpu=slots.kinds[0].gpu > 0,
                resources_per_worker=slots.kinds[0].each,
            ),
            run_config=train.RunConfig(
                storage_path=str(storage), failure_config=train.FailureConfig(max_failures=MACHINE_RETRIES)
            ),
        )
        try:
            trainer.fit()
        except train.TrainingFailedError as error:
            text = str(error).strip().splitlines()
            raise HsrayError(
                f"the workers failed: {text[-1] if text else type(error).__name__}",
                where=str(storage),
                do="run the same command again: it goes on from the last checkpoint",
            ) from error
    shutil.rmtree(storage, ignore_errors=True)
    if folder.reason is not None:
        raise TrainingFailed(folder.reason)


def _train_worker(config: dict[str, Any]) -> None:
    context = train.get_context()
    shard, device = Shard(context.get_world_rank(), context.get_world_size()), get_device()
    folder, started = RunFolder(Path(config["folder"])), time.time()

    def distributed(model: torch.nn.Module) -> torch.nn.Module:
        if device.type != "cuda":  # torch synchronises batch norm on GPUs alone; here it sees a worker's share
            return torch.nn.parallel.DistributedDataParallel(model, find_unused_parameters=True)
        model = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
        return torch.nn.parallel.DistributedDataParallel(model, device_ids=[device], find_unused_parameters=True)

    try:
        pretrain(
            Recipe.model_validate_json(config["recipe"]),
            Path(config["data"]),
            Path(config["out"]),
            folder=folder,
            shard=shard,
            device=device,
            wrap=distributed,
        )
    except HsrayError as error:  # every worker meets it: no machine's fault, and not to be tried again
        if shard.rank == 0:
            folder.fail(started, str(error))
