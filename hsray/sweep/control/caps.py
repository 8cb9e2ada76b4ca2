"""Caps on a sweep: wall time, device hours, disk. What is used is read from the run folders."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from hsray.experiment import Caps
from hsray.runlog import RESULT, read_epochs, read_json
from hsray.sweep.jobs import Job

PATIENCE_S = 60.0  # that runs get to save when a cap is reached
SHARE = 0.02  # of the time, at most, is spent on looking
EVERY_S = 2.0


class CapsWatch:
    """Looks now and then at what a sweep has used. `live` gives the runs under way."""

    def __init__(self, caps: Caps, folder: Path, features: list[Path], live: Callable[[], list[Job]]) -> None:
        self.caps, self.folder, self.features, self.live = caps, folder, features, live
        self._started = time.monotonic()
        self._ended: dict[Path, float] = {}

    def reached(self) -> str | None:
        """Which cap is reached, as `caps.hours: 2 (used 2.003)`; None while none is."""
        caps = self.caps
        if caps.hours is not None and (used := (time.monotonic() - self._started) / 3600) >= caps.hours:
            return _text("hours", caps.hours, used)
        if caps.device_hours is not None and (used := self.device_seconds() / 3600) >= caps.device_hours:
            return _text("device_hours", caps.device_hours, used)
        if caps.disk_gb is not None and (used := self.bytes() / 1e9) >= caps.disk_gb:
            return _text("disk_gb", caps.disk_gb, used)
        return None

    def device_seconds(self) -> float:
        """Of all runs of the sweep so far; those under way up to now."""
        live = {job.folder: job for job in self.live()}
        total = 0.0
        for spec in self.folder.glob("cells/*/*/spec.json"):
            folder = spec.parent
            try:
                if folder not in self._ended and (result := read_json(folder / RESULT)) is not None:
                    self._ended[folder] = result["metrics"].get("cost/device_seconds", 0.0)
                ended = self._ended.get(folder)
                total += _so_far(folder, running=folder in live) if ended is None else ended
            except (OSError, ValueError, LookupError, TypeError):  # unreadable; `hsray doctor` names it
                continue
        return total

    def bytes(self) -> int:
        """Of the sweep's folder and its features."""
        return sum(_bytes(folder) for folder in (self.folder, *self.features))


@contextmanager
def watched(caps: CapsWatch, stop: Callable[[str], None]) -> Iterator[None]:
    """Within it, `stop` is told which cap is reached."""
    done = threading.Event()

    def watch() -> None:
        pause = 0.0
        while not done.wait(pause):
            before = time.monotonic()
            if (reason := caps.reached()) is not None:
                return stop(reason)
            pause = max(EVERY_S, (time.monotonic() - before) / SHARE)

    thread = threading.Thread(target=watch, name="hsray-caps", daemon=True)
    if any(value is not None for _, value in caps.caps):
        thread.start()
    try:
        yield
    finally:
        done.set()


def _text(name: str, cap: float, used: float) -> str:
    return f"the cap caps.{name}: {cap:g} is reached ({used:.4g})"


def _so_far(folder: Path, *, running: bool) -> float:
    """Device seconds of a run without a result: what it logged, and if it runs the time since."""
    spec, records = read_json(folder / "spec.json") or {}, read_epochs(folder)
    workers = spec.get("workers", 1)
    logged = records[-1]["metrics"]["cost/seconds"] if records else 0.0
    since = max((folder / "spec.json").stat().st_mtime, *(record["time"] for record in records[-1:]), 0)  # handed out
    return workers * (logged + (max(0.0, time.time() - since) if running else 0.0))


def _bytes(folder: Path) -> int:
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                total += os.lstat(os.path.join(place, name)).st_blocks * 512
            except FileNotFoundError:  # a file that is being replaced, a folder that is being removed
                continue
    return total
