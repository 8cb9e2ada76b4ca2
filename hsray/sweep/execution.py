"""Two ways to execute one loop: in the Tune actor (one worker), or under Ray Train (several workers, DDP)."""

from __future__ import annotations

import json
import time
import traceback
from collections.abc import Callable
from typing import Any

import torch
from ray import train, tune
from ray.train.torch import TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback

from hsray.datasets.samples import Shard
from hsray.errors import HsrayError
from hsray.runlog import write_json
from hsray.sweep.jobs import Job
from hsray.training import fit

MACHINE_RETRIES = 3


def run_in_actor(config: dict[str, Any]) -> None:
    """Tune trainable for runs with one worker."""
    job = Job.model_validate_json(config["job"])
    _guarded(job, lambda: fit(job.config, job.folder, _to_tune, cache=job.cache))


def run_distributed(config: dict[str, Any]) -> None:
    """Tune trainable that starts a Ray Train job for a run with several workers."""
    if Job.model_validate_json(config["job"]).result is not None:
        return
    resources = json.loads(config["resources"])
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config=config,
        scaling_config=train.ScalingConfig(
            num_workers=resources["workers"],
            use_gpu=resources["gpu"] > 0,
            resources_per_worker={"CPU": resources["cpu"]} | ({"GPU": resources["gpu"]} if resources["gpu"] else {}),
        ),
        run_config=train.RunConfig(
            storage_path=config["storage"],
            callbacks=[TuneReportCallback()],  # type: ignore[list-item]
        ),
    )
    trainer.fit()


def _train_worker(config: dict[str, Any]) -> None:
    job = Job.model_validate_json(config["job"])
    context = train.get_context()
    shard = Shard(context.get_world_rank(), context.get_world_size())
    device = get_device()

    def report(epoch: int, metrics: dict[str, float]) -> None:
        train.report({"epoch": epoch, **metrics})

    def distributed(model: torch.nn.Module) -> torch.nn.Module:
        on_gpu = [device] if device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(model, device_ids=on_gpu)

    def work() -> dict[str, Any]:
        return fit(job.config, job.folder, report, shard=shard, device=device, cache=job.cache, wrap=distributed)

    _guarded(job, work, shard)


def _to_tune(epoch: int, metrics: dict[str, float]) -> None:
    tune.report({"epoch": epoch, **metrics})


def _guarded(job: Job, work: Callable[[], dict[str, Any]], shard: Shard = Shard()) -> None:
    """Do the work and leave `result.json`. What fails by its own doing is a result too, and is not tried again."""
    if job.result is not None:
        return  # started again after it had ended
    started = time.time()
    try:
        result = work()
    except Exception as error:
        if shard.world > 1 and isinstance(error, RuntimeError) and not isinstance(error, HsrayError):
            raise  # another worker may have died under this one: the machine failed the run, which is tried again
        reason = str(error) if isinstance(error, HsrayError) else f"{type(error).__name__}: {error}"
        (job.folder / "error.txt").write_text(traceback.format_exc(), "utf-8")
        seconds = time.time() - started
        result = {
            "state": "FAILED", "reason": reason, "started": started, "ended": time.time(), "best_epoch": -1,
            "metrics": {"cost/seconds": seconds, "cost/device_seconds": seconds}, "artifacts": [],
        }  # fmt: skip
        write_json(job.folder / "result.json", result)
        if shard.world > 1:
            raise  # the other workers may be waiting for this one: Ray Train has to end them
        return
    if shard.rank == 0 and job.result is None:  # the bracket may have stopped it meanwhile
        write_json(job.folder / "result.json", result)
