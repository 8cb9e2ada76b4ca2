"""A worker that Ray ended because its node had no memory left is a lost worker like any other.

Ray's memory monitor, which is on by default, says so by an error of its own, which is neither a dead actor's nor a
task's. Tune does not expect it (2.60) and ends the whole sweep.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ray.air.execution._internal.actor_manager import RayActorManager
from ray.exceptions import OutOfMemoryError, RayActorError

NO_MEMORY = "Ray ended the worker: its node had no memory left; lower resources.concurrent, or give a run more cpus"


def last_words(error: str) -> str | None:
    """What the text of a trial's error comes down to; None where it says nothing."""
    lines = [line.strip() for line in error.splitlines() if line.strip()]
    if any("running low on memory" in line for line in lines):
        return NO_MEMORY  # else pages of Ray's advice
    return lines[-1][:300] if lines else None


@contextmanager
def memory_kills_are_losses() -> Iterator[None]:
    """Within it, Tune starts such a run again, as after any other loss."""
    told = RayActorManager._actor_task_failed

    def failed(manager: RayActorManager, tracked_actor_task: Any, exception: Exception) -> None:
        if isinstance(exception, OutOfMemoryError):
            exception = RayActorError(error_msg=NO_MEMORY)
        told(manager, tracked_actor_task, exception)

    RayActorManager._actor_task_failed = failed  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        RayActorManager._actor_task_failed = told  # type: ignore[method-assign]
