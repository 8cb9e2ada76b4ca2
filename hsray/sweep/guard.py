"""What becomes of a run: a result that it leaves, a stop, or a fault of the machine, of which the driver is told."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable
from typing import Any

from hsray.datasets.samples import Shard
from hsray.errors import HsrayError, MachineFault, RunStopped
from hsray.runlog import RESULT, read_epochs, write_atomically, write_json_once
from hsray.sweep.jobs import Job
from hsray.training.faults import lost_a_peer
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
    started, spent = time.time(), _spent(job)  # now: what follows the checkpoint is taken out of the log
    try:
        result = work()
    except RunStopped:
        return
    except MachineFault as fault:
        tell(str(fault))
        raise
    except Exception as error:
        if shard.world > 1 and lost_a_peer(error):
            raise  # the machine failed the run, which is tried again; where the other has failed by itself, it said so
        _leave(job, _failed(job, error, started, spent, shard.world), tell)
        if shard.world > 1:
            raise  # the other workers may be waiting for this one: Ray Train has to end them
        return
    if shard.rank == 0:
        _leave(job, result, tell)


def _spent(job: Job) -> float:
    """Seconds that the attempts before have logged."""
    records = read_epochs(job.folder)
    return records[-1]["metrics"].get("cost/seconds", 0.0) if records else 0.0


def _failed(job: Job, error: Exception, started: float, spent: float, workers: int) -> dict[str, Any]:
    reason = str(error) if isinstance(error, HsrayError) else f"{type(error).__name__}: {error}"
    seconds = spent + time.time() - started
    tried = retries(job.folder)
    return {
        "state": "FAILED", "reason": reason, "started": started, "ended": time.time(), "best_epoch": -1,
        "metrics": {"cost/seconds": seconds, "cost/device_seconds": seconds * workers}, "artifacts": [],
    } | ({"retries": tried} if tried else {})  # fmt: skip


def _leave(job: Job, result: dict[str, Any], tell: Callable[[str], None]) -> None:
    """The first result counts: the bracket, or another worker, may have ended the run meanwhile."""
    try:
        if result["state"] == "FAILED" and job.result is None:
            write_atomically(job.folder / "error.txt", traceback.format_exc().encode())
        write_json_once(job.folder / RESULT, result)
    except MachineFault as fault:
        tell(str(fault))
        raise
