"""The training loop: a plain function of a resolved configuration. It knows neither Tune nor Train nor MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from hsray.datasets.samples import Shard
from hsray.errors import MachineFault
from hsray.runlog import EPOCHS, append_epoch, remove_partials
from hsray.training import checkpoint
from hsray.training.config import RunConfig
from hsray.training.faults import machine_fault
from hsray.training.finals import CONFUSION, MAPS, PICTURE, PREDICTIONS, WEIGHTS, write_test_results, write_weights
from hsray.training.memory import OutOfMemory, free_memory, memory_watched, note_retry, ran_out_again, retries
from hsray.training.run import SCORE, Run
from hsray.training.stopping import Stop, never

__all__ = ["SCORE", "Report", "fit"]
Report = Callable[[int, dict[str, float]], None]
# What the first worker alone writes; the driver or other workers may be writing the rest.
_OWN = (checkpoint.NAME, checkpoint.PREVIOUS, EPOCHS, WEIGHTS, CONFUSION, PREDICTIONS, PICTURE, MAPS)


def fit(
    config: RunConfig,
    folder: Path,
    report: Report,
    *,
    shard: Shard = Shard(),
    device: torch.device | None = None,
    cache: Path | None = None,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
    stop: Callable[[], bool] = never,
    keep_weights: bool = False,
) -> dict[str, Any]:
    """Train one configuration; go on from the folder's checkpoint if there is one.

    `report(epoch, metrics)` is called after every epoch on every worker and may raise to end the run. `stop()` is asked
    now and then whether the run is to save where it is and end; it then goes on from there another time, and the result
    is the same to the bit. Where the device runs out of memory, half the batch at a time is tried once. Returns the
    content of `result.json`: state, metrics (best validation epoch; the test set for finals), cost, artefacts, and
    where there is something to say `retries` and `notes`. Finals leave the best weights, other runs if `keep_weights`.

    Raises:
        TrainingFailed: the loss is not finite; the device has not even memory for half a batch.
        RequestError: dataset, strategy and options do not fit each other.
        RunStopped: the run was asked to stop and saved where it was.
        MachineFault: the run's folder cannot be written, files cannot be read, a process was lost, or (with several
            workers) the run is to be started again with half the batch at a time.
    """
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    tried: list[dict[str, Any]] = []

    def build() -> Run:
        less = {name: tried[0][name] for name in ("accumulate", "shrink")} if tried else {}
        return Run(config, folder, shard, device, cache, wrap, Stop(stop), **less)

    while True:
        try:
            if shard.rank == 0:
                remove_partials(folder, _OWN)
            tried = retries(folder)
            return _fit(build, report, keep_weights) | ({"retries": tried} if tried else {})
        except OutOfMemory as error:
            if tried:
                raise ran_out_again(error, config, tried) from None
            note_retry(folder, error)
            if shard.world > 1:  # the other workers wait for this one; all have to start again
                raise MachineFault(f"{error.said}; it is tried again with less", where=str(folder)) from None
        except (OSError, RuntimeError) as error:
            if fault := machine_fault(error, folder):
                raise fault from error
            raise
        free_memory()  # only here: the error held on to the attempt


def _fit(build: Callable[[], Run], report: Report, keep_weights: bool) -> dict[str, Any]:
    started = time.time()
    with memory_watched("building"):
        run = build()
    progress, first = run.progress, run.shard.rank == 0
    while not run.ended:
        metrics = run.one_epoch()
        if first:
            append_epoch(run.folder, progress.epoch - 1, metrics)
            if run.saving.due():
                run.saving.save(progress)
        report(progress.epoch - 1, metrics)
    run.assembled.model.load_state_dict(progress.best_state)
    result: dict[str, Any] = {
        "state": "COMPLETE",
        "reason": None,
        "started": started,
        "ended": time.time(),
        "best_epoch": progress.best_epoch,
        "metrics": {**progress.best_metrics, **run.cost()},
        "artifacts": [],
    }
    if run.assembled.weights is not None:
        result["weights"] = asdict(run.assembled.weights)
    if run.config.test:
        with run.saving.at_stop(progress), memory_watched("evaluation"):
            metrics, result["artifacts"] = write_test_results(run.folder, run.store, run.assembled, run.shard, run.how)
        result["metrics"].update(metrics)
        result["ended"] = time.time()
    elif keep_weights and first:
        write_weights(run.folder, run.assembled.model)
    return result | ({"notes": progress.notes} if progress.notes else {})
