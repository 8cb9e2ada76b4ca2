"""A run on its machine: its folder from the store, what it writes to the store, and the driver's word to it."""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from hsray.errors import MachineFault, RequestError
from hsray.runlog import write_atomically
from hsray.storage.folders import working_folder
from hsray.storage.formats import read_object
from hsray.storage.mirror import LOG, RESULT, Mirror
from hsray.storage.store import Store, store_at

PUSH_EVERY_S = 2.0
PUSH_SHARE = 0.1  # of the time, at most, goes into sending while the run goes on
LOOK_EVERY_S = 2.0
LONGEST_LINE = 2**16  # bytes
STOP = "stop"  # hsray.sweep.control.stopping: a file in the folder that is the sweep's to the run


@contextmanager
def attached(ticket: str | None, folder: Path, *, decided_elsewhere: bool = False) -> Iterator[Path]:
    """The folder in which a run works. Without a ticket, its own; else a copy on this machine, mirrored to the store.

    Whoever leaves the block has sent all that there is, the result last. A run that is thrown out (SystemExit, as the
    bracket does it) sends nothing more: the driver has its log and its result. With `decided_elsewhere` nobody throws
    it out; a result that the driver puts into the store is looked for, and asks the run to stop.

    Raises:
        MachineFault: the store did not answer for a minute, at the start or at the end.
    """
    if ticket is None:
        yield folder
        return
    told = json.loads(ticket)
    store, run = store_at(told["runs"]), "/".join(folder.parts[-3:])
    with working_folder() as sweep_folder:
        mirror = Mirror(store, run, sweep_folder / run)
        mirror.pull()
        helper = _Helper(mirror, store, told["driver"], sweep_folder, decided_elsewhere)
        helper.start()
        thrown_out = True
        try:
            yield mirror.folder
            thrown_out = False
        except Exception:
            thrown_out = False
            raise
        finally:
            helper.end()
            if not thrown_out and not helper.over:
                mirror.push(ended=True)


def has_ended(ticket: str | None, folder: Path) -> bool:
    """Whether a run has left its result, here or in the store."""
    if ticket is None:
        return (folder / RESULT).exists()
    return store_at(json.loads(ticket)["runs"]).entry("/".join((*folder.parts[-3:], RESULT))) is not None


def reported(ticket: str | None, folder: Path) -> dict[str, str]:
    """What goes to the driver beside an epoch's metrics: the log's own line, so that it need not ask the store."""
    log = folder / LOG
    if ticket is None or not log.exists():
        return {}
    with log.open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - LONGEST_LINE))
        return {"line": file.read().decode().rstrip("\n").rpartition("\n")[2]}


class _Helper:
    """Two threads beside a run: one sends, one listens whether the driver wants it to stop."""

    def __init__(self, mirror: Mirror, store: Store, driver: str, sweep_folder: Path, decided_elsewhere: bool) -> None:
        self.mirror, self.store, self.driver, self.stop_file = mirror, store, driver, sweep_folder / STOP
        self.result = f"{mirror.run}/{RESULT}" if decided_elsewhere else None
        self.over = False  # what this run writes does not count any more
        self._over = threading.Event()
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._send, self._listen)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(timeout=1.5)  # Tune waits two seconds for a run that it threw out

    def _send(self) -> None:
        pause = PUSH_EVERY_S
        while not self._over.wait(pause):
            begun = time.monotonic()
            if not self.over:
                with suppress(MachineFault):  # a store that is away now may be back at the end, when it counts
                    self.mirror.push()
            pause = max(PUSH_EVERY_S, (time.monotonic() - begun) / PUSH_SHARE)

    def _listen(self) -> None:
        missing = 0
        while not self._over.wait(LOOK_EVERY_S):
            try:
                said = self.store.get(self.driver)
                decided = self.result is not None and self.store.entry(self.result) is not None
            except MachineFault:
                continue
            missing = missing + 1 if said is None else 0
            if missing > 1:  # another driver has taken the sweep over: what this run writes would be in its way
                self.over = True
                self._stop("the driver of this run has gone")
            elif decided:
                self.over = not (self.mirror.folder / RESULT).exists()
                self._stop("the driver has decided on this run")
            elif said is not None and (reason := self._asked(said)):
                self._stop(reason)

    def _asked(self, said: bytes) -> str | None:
        """Why the driver wants the run to stop. What cannot be understood asks for nothing: the driver refuses it."""
        try:
            return read_object(said, f"{self.store.uri}/{self.driver}", "stop")["stop"]
        except RequestError:
            return None

    def _stop(self, reason: str) -> None:
        if not self.stop_file.exists():
            write_atomically(self.stop_file, reason.encode())
