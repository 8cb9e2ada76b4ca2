"""Out of memory: recognised on any device, and tried once more with less."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypeGuard

import torch

from hsray.errors import TrainingFailed
from hsray.runlog import read_json, write_json
from hsray.training.config import RunConfig

RETRIES = "retries.json"
Phase = Literal["building", "training", "evaluation"]
_SAYINGS = ("can't allocate memory", "not enough memory", "ALLOC_FAILED", "out of memory")


class OutOfMemory(Exception):
    """The device had no memory left in this phase."""

    def __init__(self, phase: Phase, said: str) -> None:
        super().__init__(said)
        self.phase, self.said = phase, said


@contextmanager
def memory_watched(phase: Phase) -> Iterator[None]:
    """Raises OutOfMemory in place of whatever the device's allocator raises."""
    try:
        yield
    except (RuntimeError, MemoryError) as error:
        if not _is_out_of_memory(error):
            raise
        raise OutOfMemory(phase, str(error).partition("\n")[0][:300]) from None


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return any(saying in str(error) for saying in _SAYINGS)


def free_memory() -> None:
    """Give back what a failed attempt held."""
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def retries(folder: Path) -> list[dict[str, Any]]:
    """What was tried otherwise after a want of memory: `reason`, `accumulate` (parts of every batch), `shrink` (by how
    much evaluation windows are smaller). It lasts: a run that goes on does not have to run out of memory again."""
    try:
        found = read_json(folder / RETRIES)
    except ValueError:  # damaged: the run has to run out of memory again, and no more
        return []
    return found if _whole(found) else []


def _whole(found: Any) -> TypeGuard[list[dict[str, Any]]]:
    if not isinstance(found, list) or not found or not isinstance(found[0], dict):
        return False
    return all(isinstance(found[0].get(name), int) for name in ("accumulate", "shrink"))


def note_retry(folder: Path, error: OutOfMemory) -> None:
    """Record how the run is to be tried again. Raises MachineFault where that cannot be written."""
    evaluation = error.phase == "evaluation"
    retry = {
        "reason": f"out of memory in {error.phase}: {error.said}",
        "accumulate": 1 if evaluation else 2,
        "shrink": 2 if evaluation else 1,
    }
    write_json(folder / RETRIES, [retry])


def ran_out_again(error: OutOfMemory, config: RunConfig, before: list[dict[str, Any]]) -> TrainingFailed:
    """What to tell where less was not enough."""
    training, tried = config.training, before[0]
    how = "half the batch at a time" if tried["accumulate"] > 1 else "evaluation windows of half the side"
    if error.phase == "evaluation":
        side = training.window or "none: whole images"
        do = f"evaluate in windows or smaller ones (`window`, now {side})"
    elif config.task == "spectral":
        do = f"lower `batch` (now {training.batch})"
    else:
        do = f"lower `batch` (now {training.batch}) or `crop` (now {training.crop or 'none: whole images'})"
    return TrainingFailed(
        f"the device ran out of memory in {error.phase}, also with {how}: {error.said}",
        where=f"strategy {config.strategy.name}",
        do=f"{do}, or give each run more of a device",
    )
