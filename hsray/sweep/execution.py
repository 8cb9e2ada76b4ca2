"""Two ways to execute one loop: in the Tune actor (one worker), or under Ray Train (several workers, DDP)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from ray import train, tune
from ray.train import WorkerGroupError
from ray.train.torch import TorchTrainer, get_device
from ray.tune.integration.ray_train import TuneReportCallback

from hsray.datasets.samples import Shard
from hsray.errors import MachineFault, RequestError
from hsray.storage import attached, has_ended, reported
from hsray.sweep.cluster.metrics import export_run
from hsray.sweep.cluster.needs import Need
from hsray.sweep.cluster.torchgroup import GroupConfig
from hsray.sweep.control.stopping import stop_requested
from hsray.sweep.guard import guarded
from hsray.sweep.jobs import Job
from hsray.training import fit


def run_in_actor(config: dict[str, Any]) -> None:
    """Tune trainable for runs with one worker."""

    def tell(fault: str) -> None:
        tune.report({"fault": fault})

    with _at_work(config, tell) as job, export_run(job) as note:

        def report(epoch: int, metrics: dict[str, float]) -> None:
            note(metrics)
            tune.report({"epoch": epoch, **metrics, **reported(config.get("store"), job.folder)})

        def work() -> dict[str, Any]:
            return fit(
                job.config, job.folder, report, cache=job.cache, stop=_stop_of(job), keep_weights=job.keep_weights
            )

        guarded(job, work, tell)


def run_distributed(config: dict[str, Any]) -> None:
    """Tune trainable that starts a Ray Train job for a run with several workers."""
    job, need = Job.model_validate_json(config["job"]), Need.model_validate_json(config["need"])
    if has_ended(config.get("store"), job.folder):
        return
    trainer = TorchTrainer(
        _train_worker,
        train_loop_config=config,
        torch_config=GroupConfig(),
        scaling_config=train.ScalingConfig(
            num_workers=need.workers,
            use_gpu=need.gpu > 0,
            resources_per_worker=need.each,
            label_selector=dict(need.labels) or None,  # type: ignore[call-arg]
        ),
        run_config=train.RunConfig(
            storage_path=config["storage"],
            callbacks=[TuneReportCallback()],  # type: ignore[list-item]
        ),
    )
    try:
        trainer.fit()
    except train.TrainingFailedError as error:
        # Without a result a worker was lost: Tune starts the run again, which goes on from its checkpoint.
        if not has_ended(config.get("store"), job.folder):
            if fault := _fault_of(error):
                tune.report({"fault": fault})
            raise


def _fault_of(error: train.TrainingFailedError) -> str | None:
    """What the machine failed the workers by, where one of them could still say it."""
    causes = error.worker_failures.values() if isinstance(error, WorkerGroupError) else ()
    return next((str(cause) for cause in causes if isinstance(cause, MachineFault)), None)


def _train_worker(config: dict[str, Any]) -> None:
    context = train.get_context()
    shard = Shard(context.get_world_rank(), context.get_world_size())
    device = get_device()

    def distributed(model: torch.nn.Module) -> torch.nn.Module:
        on_gpu = [device] if device.type == "cuda" else None
        return torch.nn.parallel.DistributedDataParallel(model, device_ids=on_gpu)

    bracket = _Bracket(config)
    with _at_work(config, several=True) as job, export_run(job) as note:

        def report(epoch: int, metrics: dict[str, float]) -> None:
            if shard.rank == 0:  # the speed is that of all workers together
                note(metrics)
            train.report({"epoch": epoch, **metrics, **reported(config.get("store"), job.folder)})

        def work() -> dict[str, Any]:
            return fit(
                job.config, job.folder, report, shard=shard, device=device, cache=job.cache, wrap=distributed,
                stop=_any(_stop_of(job), bracket), keep_weights=job.keep_weights,
            )  # fmt: skip

        # Ray Train passes reports on when all workers have made one: the error itself carries the fault out.
        guarded(job, work, lambda fault: None, shard)


def _stop_of(job: Job) -> Callable[[], bool]:
    return partial(stop_requested, job.folder.parents[2])


def _any(*stops: Callable[[], bool]) -> Callable[[], bool]:
    return lambda: any(stop() for stop in stops)


class _Bracket:
    """True once the driver has written a run's result, which is how the bracket stops several workers.

    Where runs lie in a store, that is looked for there, and is a request to stop as any other.
    """

    def __init__(self, config: dict[str, Any]) -> None:
        self.folder, self.in_store = Job.model_validate_json(config["job"]).folder, "store" in config

    def __call__(self) -> bool:
        return not self.in_store and has_ended(None, self.folder)


@contextmanager
def _at_work(
    config: dict[str, Any], tell: Callable[[str], None] = lambda fault: None, *, several: bool = False
) -> Iterator[Job]:
    """The run, in the folder where it works on this machine; `tell` hears why it cannot."""
    job = Job.model_validate_json(config["job"])
    try:
        with attached(config.get("store"), job.folder, decided_elsewhere=several) as folder:
            yield job.model_copy(update={"folder": folder})
    except (MachineFault, RequestError) as fault:  # of its place: the run's own errors end in its result
        tell(str(fault))
        raise
