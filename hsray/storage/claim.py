"""One driver a sweep, on whatever machine: an object `drivers/<token>` that its driver writes anew every few seconds.

No store need offer locks. A driver writes its object and then looks for others: of two, at least the later sees the
other. Ages are differences of the store's own times, so no clocks are compared.
"""

from __future__ import annotations

import hashlib
import json
import os
import random
import socket
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil

from hsray.errors import RequestError
from hsray.storage.formats import FORMAT, read_object
from hsray.storage.store import Store

BEAT_S = 10.0
OVERDUE_S = 40.0  # a driver that was not heard for so long may be dead
STALE_S = 180.0  # and for so long counts as dead
FOLDER = "drivers"
KEYS = ("host", "pid", "command", "began", "started", "place", "since", "stop")
Say = Callable[[str], None]


class Claim:
    """This driver's object. `name` is what its runs look at; `lost` is why the sweep is not this driver's any more.

    Raises (acquire):
        RequestError: another driver has the sweep; it is named. Or what it says of itself cannot be understood.
    """

    def __init__(self, store: Store, *, stale: float = STALE_S, overdue: float = OVERDUE_S) -> None:
        self.store, self.stale, self.overdue = store, stale, overdue
        self.token = uuid.uuid4().hex[:12]
        self.name = f"{FOLDER}/{self.token}"
        self.lost: str | None = None
        self._told: dict[str, Any] = {
            "host": socket.gethostname(), "pid": os.getpid(), "command": " ".join(map(_last, sys.argv[:2])),
            "began": datetime.now().astimezone().isoformat(" ", "seconds"), "started": psutil.Process().create_time(),
            "place": _place(), "since": None, "stop": None, "format": FORMAT,
        }  # fmt: skip

    def acquire(self, say: Say) -> None:
        waiting = False
        while True:
            self._write()
            mine, others, fault = self._look()
            if fault is not None:
                self.release()
                raise fault
            rivals = []
            for token, told, written in others:
                if _dead(told) or mine - written > self.stale:
                    say(f"the driver before this one ({_named(told)}) has gone; this one takes the sweep over")
                    self.store.delete(f"{FOLDER}/{token}")
                else:
                    rivals.append((told, mine - written))
            if not rivals:
                self._told["since"] = mine
                self._write()
                return
            self.release()
            told, age = rivals[0]
            if told["since"] is not None and age < self.overdue:
                raise RequestError(
                    f"the sweep is running already: {_named(told)}",
                    where=self.store.uri,
                    do="wait for it, or give this one another name",
                )
            if age >= self.overdue and not waiting:
                say(f"{_named(told)} has this sweep and was not heard for {age:.0f} s; waiting until it counts as gone")
                waiting = True
            time.sleep(random.uniform(0.1, 1.0) * min(self.stale, 5.0 if waiting else 1.0))

    def beat(self, stop: str | None = None) -> None:
        """Say that this driver lives, and why its runs are to stop, if so. Sets `lost` where another has taken over.

        Raises:
            RequestError: another's object cannot be understood. This driver has said that it lives all the same.
        """
        mine, others, fault = self._look()
        later = [told for _, told, _ in others if told["since"] is not None and told["since"] >= self._told["since"]]
        if mine == 0.0 or later:
            by = f": {_named(later[0])}" if later else ""
            self.lost = f"another driver has taken this sweep over{by}"
            return
        self._told["stop"] = stop
        self._write()
        if fault is not None:
            raise fault

    def release(self) -> None:
        self.store.delete(self.name)

    def _write(self) -> None:
        self.store.put(self.name, json.dumps(self._told).encode())

    def _look(self) -> tuple[float, list[tuple[str, dict[str, Any], float]], RequestError | None]:
        """When this driver's object was written (0: it is gone), and the others with what they say and when.

        Of those that cannot be understood, what is wrong with the last.
        """
        entries = self.store.list(FOLDER)
        others, fault = [], None
        for token, entry in entries.items():
            content = self.store.get(f"{FOLDER}/{token}") if token != self.token else None
            if content is not None:
                try:
                    others.append((token, _read(content, self.store, token), entry.written))
                except RequestError as error:
                    fault = error
        return entries[self.token].written if self.token in entries else 0.0, others, fault


def living(store: Store) -> tuple[dict[str, Any], float] | None:
    """What a sweep's driver says of itself, for people, and when it began; None where none was heard lately.

    Raises:
        RequestError: what it says cannot be understood.
    """
    for name, entry in store.list(FOLDER).items():
        content = store.get(f"{FOLDER}/{name}")
        told = _read(content, store, name) if content and time.time() - entry.written < STALE_S else None
        if told is not None and told["since"] is not None and not _dead(told):
            return {"since": told["began"], **{key: told[key] for key in ("pid", "host", "command")}}, told["since"]
    return None


def _read(content: bytes, store: Store, token: str) -> dict[str, Any]:
    return read_object(content, f"{store.uri}/{FOLDER}/{token}", *KEYS)


def _last(word: str) -> str:
    return Path(word).name


def _named(told: dict[str, Any]) -> str:
    return f"process {told['pid']} on {told['host']}"


def _place() -> str:
    """Where a process number means something: this boot of this machine, this container."""
    boot, space = Path("/proc/sys/kernel/random/boot_id"), Path("/proc/self/ns/pid")
    parts = (
        socket.gethostname(),
        boot.read_text() if boot.exists() else "",
        os.readlink(space) if space.exists() else "",
    )
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _dead(told: dict[str, Any]) -> bool:
    """Whether it ran here and does not any more."""
    if told["place"] != _place():
        return False
    try:
        return psutil.Process(told["pid"]).create_time() != told["started"]
    except psutil.NoSuchProcess:
        return True
