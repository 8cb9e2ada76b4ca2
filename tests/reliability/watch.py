"""Watching a sweep's folder while it runs: every epoch ever logged, and every checkpoint, also those replaced since.

`epochs.jsonl` keeps the last pass only. Whoever watches sees epochs that were trained again, and whether a checkpoint
would have spared them.
"""

from __future__ import annotations

import io
import os
import pickle
import threading
import zipfile
from pathlib import Path
from types import TracebackType

import torch

from hsray.runlog import read_epochs
from hsray.training import checkpoint

EVERY_S = 0.03
CLOCK_S = 0.05  # a file's time is taken from a coarser clock than the time in a log


class Watch:
    """A thread that reads along. Runs are named `cell/run` as their folders are."""

    def __init__(self, sweep: Path) -> None:
        self.sweep = sweep
        self.logged: dict[str, set[tuple[int, float]]] = {}  # by run: (epoch, when)
        self.saved: dict[str, set[tuple[int, float]]] = {}  # by run: (epochs in a checkpoint, when it was written)
        self._seen: dict[Path, tuple[int, int, int]] = {}
        self._lock = threading.Lock()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._work, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self._end.set()
        self._thread.join()
        self.look()

    @property
    def epochs(self) -> int:
        """Different epochs logged so far, over all runs."""
        with self._lock:
            return sum(len({epoch for epoch, _ in logged}) for logged in self.logged.values())

    def repeated(self) -> int:
        """Epochs that were logged more than once, however often."""
        return sum(len(logged) - len({epoch for epoch, _ in logged}) for logged in self.logged.values())

    def lost(self) -> list[str]:
        """Epochs trained after a checkpoint that already held them."""
        self.look()
        return [
            f"{run}: epoch {epoch} trained again though a checkpoint held {held}"
            for run, logged in sorted(self.logged.items())
            for epoch, when in sorted(logged)
            if (held := max((count for count, saved in self.saved.get(run, ()) if saved + CLOCK_S < when), default=0))
            > epoch
        ]

    def last_is_spoilt(self, folder: Path) -> None:
        """Nobody can go on from a run's newest checkpoint; what counts is the one before it, where there is one."""
        self.look()
        previous = folder / checkpoint.PREVIOUS
        found = _epochs_held(previous)
        self.saved[_run(previous)] = {found} if found else set()

    def look(self) -> None:
        """Read what is new."""
        with self._lock:
            self._look()

    def _look(self) -> None:
        for log in self.sweep.glob("cells/*/*/epochs.jsonl"):
            if self._is_new(log):
                records = read_epochs(log.parent)
                self.logged.setdefault(_run(log), set()).update((record["epoch"], record["time"]) for record in records)
        for saved in self.sweep.glob(f"cells/*/*/{checkpoint.NAME}"):
            if self._is_new(saved) and (found := _epochs_held(saved)):
                self.saved.setdefault(_run(saved), set()).add(found)

    def _is_new(self, path: Path) -> bool:
        try:
            stat = path.stat()
        except FileNotFoundError:
            return False
        now = (stat.st_mtime_ns, stat.st_size, stat.st_ino)
        return self._seen.get(path) != now and self._seen.update({path: now}) is None

    def _work(self) -> None:
        while not self._end.wait(EVERY_S):
            self.look()


def _epochs_held(path: Path) -> tuple[int, float] | None:
    """How many epochs a checkpoint holds, and when it was written; None where it is gone or spoilt by a fault."""
    try:  # read apart from the product, which may put a spoilt one aside; one file, though it be replaced meanwhile
        with path.open("rb") as file:
            written = os.fstat(file.fileno()).st_mtime
            content = torch.load(io.BytesIO(file.read()), map_location="cpu", weights_only=True)
        return content["progress"]["epoch"], written
    except (OSError, EOFError, RuntimeError, ValueError, KeyError, pickle.UnpicklingError, zipfile.BadZipFile):
        return None


def _run(path: Path) -> str:
    return f"{path.parent.parent.name}/{path.parent.name}"
