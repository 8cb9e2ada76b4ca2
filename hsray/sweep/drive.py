"""All runs of a sweep in one Tuner, so that the machine never idles at a cell's end."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from hsray.experiment import Resources
from hsray.sweep.cluster import DRIVER_CPU, Slots
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.execution import MACHINE_RETRIES
from hsray.sweep.trainables import distributed, in_actor
from hsray.sweep.tune_adapters import CellScheduler, JobSearcher


def drive(
    dispatcher: Dispatcher,
    resources: Resources,
    slots: Slots,
    folder: Path,
    run_one: Callable[[dict[str, Any]], None] = in_actor,
) -> None:
    """Run what the dispatcher hands out until nothing is left. `run_one` executes a run with one worker."""
    # Tune's own files are of no use afterwards; on a cluster they must be where all nodes can reach them.
    storage = Path(tempfile.mkdtemp(prefix=".tune-", dir=folder))
    extra: dict[str, Any] = {}
    trainable: Any = tune.with_resources(run_one, {"cpu": slots.cpu, "gpu": slots.gpu})
    if resources.workers > 1:
        each = {"workers": resources.workers, "cpu": slots.cpu, "gpu": slots.gpu}
        extra = {"resources": json.dumps(each), "storage": str(storage)}  # Tune would take a dictionary apart
        trainable = tune.with_resources(distributed, {"cpu": DRIVER_CPU})
    searcher = JobSearcher(dispatcher, extra)
    try:
        tune.Tuner(
            trainable,
            tune_config=tune.TuneConfig(
                search_alg=searcher,
                scheduler=CellScheduler(searcher),
                num_samples=-1,
                reuse_actors=True,
                max_concurrent_trials=slots.count,  # also lets Tune start so many actors at once, not one by one
            ),
            run_config=tune.RunConfig(
                storage_path=str(storage), verbose=0, failure_config=tune.FailureConfig(max_failures=MACHINE_RETRIES)
            ),
        ).fit()
    finally:
        shutil.rmtree(storage, ignore_errors=True)
