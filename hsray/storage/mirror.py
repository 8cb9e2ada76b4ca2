"""A local folder and its copy in a store: what changed here is sent, in an order that a crash cannot harm."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hsray.runlog import EPOCHS, RESULT, write_atomically
from hsray.storage.store import Store

LOG = EPOCHS
NEVER = ("previous.pt",)  # a second checkpoint is for a file that is not whole; an object is
AT_ONCE = 8  # requests
State = tuple[int, int, int]


def fetch(store: Store, wanted: dict[str, Path]) -> None:
    """Bring objects by name into files, several at a time; those that are not there are left out."""

    def one(name: str) -> None:
        content = store.get(name)
        if content is not None:
            wanted[name].parent.mkdir(parents=True, exist_ok=True)
            write_atomically(wanted[name], content)

    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(one, wanted))


def is_checkpoint(name: str) -> bool:
    """What a run that has ended does not need any more."""
    return name.endswith(".pt")


class Mirror:
    """A run's folder, and the objects `<run>/…` of a sweep's store."""

    def __init__(self, store: Store, run: str, folder: Path) -> None:
        self.store, self.run, self.folder = store, run, folder
        self._sent: dict[str, State] = {}
        self._lock = threading.Lock()

    def pull(self) -> None:
        """Make the folder what the store has of the run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        names = self.store.list(self.run)
        fetch(self.store, {f"{self.run}/{name}": self.folder / name for name in names})
        self._sent = {name: state for name in names if (state := _state(self.folder / name)) is not None}

    def push(self, *, ended: bool = False) -> None:
        """Send what changed; the result alone once the run has `ended`, and last of all.

        A checkpoint's epochs are in the log before it is written. It is read before the log is, and sent after it, so
        that the store's log never ends before its checkpoint.
        """
        with self._lock:
            changed = {p.name: s for p in self._files() if (s := _state(p)) and self._sent.get(p.name) != s}
            done = changed.pop(RESULT, None) if ended else None
            changed.pop(RESULT, None)
            read = {name: _read(self.folder / name) for name in changed if name != LOG}
            if LOG in changed:
                self._put(LOG, changed[LOG], (self.folder / LOG).read_bytes())
            with ThreadPoolExecutor(AT_ONCE) as pool:
                list(pool.map(lambda name: self._put(name, changed[name], read[name]), read))
            if done is not None:
                self._put(RESULT, done, (self.folder / RESULT).read_bytes())
                for name in filter(is_checkpoint, list(self._sent)):
                    self.store.delete(f"{self.run}/{name}")

    def _put(self, name: str, state: State, content: bytes | None) -> None:
        if content is None:  # replaced or deleted meanwhile
            return
        self.store.put(f"{self.run}/{name}", content)
        self._sent[name] = state

    def _files(self) -> list[Path]:
        return [
            path
            for path in self.folder.iterdir()
            if path.is_file() and not path.name.startswith(".") and path.name not in NEVER
        ]


def _state(path: Path) -> State | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
