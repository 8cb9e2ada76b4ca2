"""The way of the data: time to the first batch of a prepared store, and what several processes on it need."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from statistics import median

from tests.benchmarks.report import Measurement
from tests.tiny import tiny_store

FIRST_BATCH_GOAL, MEMORY_GOAL = 0.1, 1.5
PROCESSES = 4


def data(folder: Path, images: int, repeats: int) -> list[Measurement]:
    """`images` images of 512 × 512 pixels and 32 bands (32 MiB each)."""
    counts = {"train": images - 2, "val": 1, "test": 1}
    path = tiny_store(folder, "large", images=counts, size=(512, 512), bands=32).path
    size = sum(file.stat().st_size for file in path.iterdir()) / 1e9
    warm = median(_first_batch(path) for _ in range(repeats))
    cold = median(_first_batch(path, cold=True) for _ in range(repeats))
    note = f"{size:.2f} GB, median of {repeats} fresh processes, imports excluded"
    return [
        Measurement("store to first batch", warm, "s", FIRST_BATCH_GOAL, note),
        Measurement("… not in the page cache", cold, "s", None, "the same after its pages were dropped"),
        _memory("memory, four readers to one", path, "hold", MEMORY_GOAL),
        _memory("… with torch and ray loaded", path, "hold-trial", None),
    ]


def _memory(name: str, path: Path, what: str, goal: float | None) -> Measurement:
    one, four = _held(path, what, 1), _held(path, what, PROCESSES)
    note = f"{four / 1e9:.2f} GB to {one / 1e9:.2f} GB, shared pages counted once (PSS)"
    return Measurement(name, four / one, "×", goal, note)


def _first_batch(path: Path, *, cold: bool = False) -> float:
    for file in path.iterdir() if cold else ():
        with file.open("rb") as handle:
            os.posix_fadvise(handle.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    command = [sys.executable, "-m", "tests.benchmarks.reader", "first-batch", str(path)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def _held(path: Path, what: str, processes: int) -> float:
    """Sum of PSS in bytes over processes that have all read the whole store and are all alive."""
    command = [sys.executable, "-m", "tests.benchmarks.reader", what, str(path)]
    readers = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    totals = {_answer(reader) for reader in readers}
    assert len(totals) == 1, "all have read the same"
    shares = []
    for reader in readers:
        _ask(reader)
        shares.append(float(_answer(reader)))
    for reader in readers:
        reader.communicate("\n")
    return sum(shares)


def _ask(reader: subprocess.Popen[str]) -> None:
    assert reader.stdin is not None
    reader.stdin.write("\n")
    reader.stdin.flush()


def _answer(reader: subprocess.Popen[str]) -> str:
    assert reader.stdout is not None
    return reader.stdout.readline().strip()
