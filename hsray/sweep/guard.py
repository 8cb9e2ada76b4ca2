"""What becomes of a run: a result that it leaves, a stop, or a fault of the machine, of which the driver is told."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

from hsray.datasets.samples import Shard
from hsray.errors import HsrayError, MachineFault, RunStopped
from hsray.runlog import write_atomically, write_json
from hsray.sweep.jobs import Job
from hsray.training.memory import retries


def guarded(job: Job, work: Callable[[], dict[str, Any]], tell: Callable[[str], None], shard: Shard = Shard()) -> None:
    """Do the work and leave `result.json`. What fails by its own doing is a result too, and is not tried again.

    A run that was asked to stop leaves none and is not tried again now. One that the machine failed leaves none either:
    `tell` hears why.

    Raises:
        MachineFault: the machine failed the run, which may be tried again.
    """
    if job.result is not None:
        return  # started again after it had ended
    started = time.time()
    try:
        result = work()
    except RunStopped:
        return
    except MachineFault as fault:
        tell(str(fault))
        raise
    except Exception as error:
        if shard.world > 1 and isinstance(error, RuntimeError) and not isinstance(error, HsrayError):
            raise  # another worker may have died under this one: the machine failed the run, which is tried again
        _leave(job, _failed(job, error, started, shard.world), tell)
        if shard.world > 1:
            raise  # the other workers may be waiting for this one: Ray Train has to end them
        return
    if shard.rank == 0 and job.result is None:  # the bracket may have stopped it meanwhile
        _leave(job, result, tell)


def _failed(job: Job, error: Exception, started: float, workers: int) -> dict[str, Any]:
    reason = str(error) if isinstance(error, HsrayError) else f"{type(error).__name__}: {error}"
    seconds = time.time() - started
    tried = retries(job.folder)
    return {
        "state": "FAILED", "reason": reason, "started": started, "ended": time.time(), "best_epoch": -1,
        "metrics": {"cost/seconds": seconds, "cost/device_seconds": seconds * workers}, "artifacts": [],
    } | ({"retries": tried} if tried else {})  # fmt: skip


def _leave(job: Job, result: dict[str, Any], tell: Callable[[str], None]) -> None:
    try:
        if result["state"] == "FAILED":
            write_atomically(job.folder / "error.txt", traceback.format_exc().encode())
        write_json(job.folder / "result.json", result)
    except MachineFault as fault:
        tell(str(fault))
        raise
