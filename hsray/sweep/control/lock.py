"""One driver a sweep. Beside the lock stands who holds it; a lock whose driver has died is free."""

from __future__ import annotations

import fcntl
import os
import re
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path

from filelock import FileLock, Timeout

from hsray.errors import RequestError
from hsray.runlog import read_json, write_json, writing
from hsray.tracking.client import redacted

LOCK, DRIVER = "driver.lock", "driver.json"


@dataclass(frozen=True)
class Driver:
    """The process that runs a sweep. The lock knows that it lives; this is for people."""

    pid: int
    host: str
    since: str
    command: str

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since}: {self.command}"


@contextmanager
def only_driver(folder: Path, name: str) -> Iterator[None]:
    """Be the one that changes a sweep's folder, which is made where it is not there.

    The system frees the lock when its holder dies, on a shared file system as soon as that knows of it.

    Raises:
        RequestError: another process is; names it.
        MachineFault: the folder cannot be written.
    """
    lock = FileLock(folder / LOCK)
    with writing(folder / LOCK):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0.3)  # somebody may be asking who holds it
        except Timeout:
            raise RequestError(
                f"the sweep '{name}' is running already: {_holder(folder)}",
                where=str(folder),
                do="wait for it or end it, or give this one another name",
            ) from None
    try:
        since = datetime.now().astimezone().isoformat(" ", "seconds")
        write_json(folder / DRIVER, asdict(Driver(os.getpid(), socket.gethostname(), since, _command())))
        yield
    finally:
        (folder / DRIVER).unlink(missing_ok=True)
        lock.release()


def running_driver(folder: Path) -> Driver | None:
    """Who runs the sweep of this folder now; None where nobody does."""
    try:
        handle = os.open(folder / LOCK, os.O_RDONLY)  # it may be somebody else's
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: two who ask do not take each other for a driver
    except BlockingIOError:
        return _holder(folder)
    finally:
        os.close(handle)
    return None


def _holder(folder: Path) -> Driver:
    """What the holder wrote; it has the lock a moment earlier."""
    try:
        return Driver(**(read_json(folder / DRIVER) or {}))
    except (TypeError, ValueError):
        return Driver(0, "an unknown host", "just now", "it has not said what it is")


def _command() -> str:
    program = Path(sys.argv[0]).name
    words = ["hsray" if program == "__main__.py" else program, *sys.argv[1:]]  # python -m hsray.cli
    return " ".join(redacted(word) if re.search("://", word) else word for word in words)
