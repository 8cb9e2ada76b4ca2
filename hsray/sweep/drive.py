"""All runs of a sweep in one Tuner, so that the machine never idles at a cell's end."""

from __future__ import annotations

import logging
import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune
from ray.tune import TuneError

from hsray.errors import HsrayError
from hsray.experiment import Resources
from hsray.runlog import writing
from hsray.storage import Home
from hsray.sweep.cluster.cluster import Slots
from hsray.sweep.cluster.memorykills import memory_kills_are_losses
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.trainables import by_need, in_actor, request
from hsray.sweep.tune_adapters import LOSSES, CellScheduler, JobSearcher, Quiet


def drive(
    dispatcher: Dispatcher,
    resources: Resources,
    slots: Slots,
    folder: Path,
    run_one: Callable[[dict[str, Any]], None] = in_actor,
    home: Home | None = None,
) -> None:
    """Run what the dispatcher hands out until nothing is left. `run_one` executes a run with one worker.

    `home` is where the runs lie, if that is not a folder that all nodes see.
    """
    # The searcher says how many run at a time; Tune is to start so many actors at once, not one by one.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = "10000"
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # the closing word says which runs have not ended, and why
    # Tune's own files are of no use afterwards; on a cluster they must be where all nodes can reach them.
    with writing(folder):
        storage = Path(tempfile.mkdtemp(prefix=".tune-", dir=folder))
    home = home or Home(folder)
    # Ray Train makes its own folder on the node where a run is. That of a driver with a store is the driver's alone.
    trains = storage if home.ticket is None else Path(tempfile.gettempdir()) / storage.name
    searcher = JobSearcher(dispatcher, slots, str(trains), home)
    try:
        with memory_kills_are_losses():
            tune.Tuner(
                tune.with_resources(by_need(run_one), request),
                tune_config=tune.TuneConfig(
                    search_alg=searcher, scheduler=CellScheduler(searcher), num_samples=-1, reuse_actors=True
                ),
                run_config=tune.RunConfig(
                    storage_path=str(storage),
                    verbose=0,
                    callbacks=[Quiet()],
                    failure_config=tune.FailureConfig(max_failures=LOSSES),
                ),
            ).fit()
    except TuneError as error:
        raise _ours(error) from None
    finally:
        shutil.rmtree(storage, ignore_errors=True)
        shutil.rmtree(trains, ignore_errors=True)


def _ours(error: BaseException) -> BaseException:
    """What the dispatcher raised, the ledger cannot be written say: Tune makes a traceback in words of it."""
    found: BaseException | None = error
    while found is not None and not isinstance(found, HsrayError):
        found = found.__cause__ or found.__context__
    return found or error
