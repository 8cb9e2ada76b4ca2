"""Processes that this one started, and theirs."""

from __future__ import annotations

import psutil


def descendants() -> list[psutil.Process]:
    """Every process below this one: a local Ray with its workers, loaders."""
    return psutil.Process().children(recursive=True)


def kill(processes: list[psutil.Process]) -> None:
    """End them at once. One that has ended is left alone, whoever has its number now."""
    for process in processes:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
