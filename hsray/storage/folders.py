"""Folders of one process: told from those that a dead one left, which are cleared away."""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from hsray.storage.address import scratch


@contextmanager
def working_folder() -> Iterator[Path]:
    """A folder below this machine's scratch, deleted afterwards. Those of processes that were killed go as well."""
    root = scratch() / "runs"
    root.mkdir(exist_ok=True)
    _clear(root)
    name = uuid.uuid4().hex[:12]
    lock = FileLock(root / f"{name}.lock")
    lock.acquire()  # before there is a folder, so that nobody takes it for left behind
    folder = root / name
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()


def _clear(root: Path) -> None:
    for folder in root.iterdir():
        if not folder.is_dir():
            continue
        lock = FileLock(root / f"{folder.name}.lock")
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        shutil.rmtree(folder, ignore_errors=True)
        Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
