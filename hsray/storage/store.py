"""A place of objects: put, get, list, delete; patient where it does not answer."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeVar

from pyarrow.fs import FileSelector, FileType

from hsray.errors import MachineFault, RequestError
from hsray.storage.address import FROM_ENVIRONMENT, file_system

PATIENCE_S = 60.0
WAITS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
T = TypeVar("T")
OBJECT_STORES = ("s3", "gcs", "abfs")


@dataclass(frozen=True)
class Entry:
    """An object: bytes, and when it was written by the store's own clock (s)."""

    size: int
    written: float


class Store:
    """Objects below one address. An object is there as a whole or not at all.

    Raises (every method):
        MachineFault: the store did not answer for `patience` seconds.
    """

    def __init__(self, uri: str, patience: float = PATIENCE_S) -> None:
        self.uri, self.patience = uri.rstrip("/"), patience
        self.files, self.root = file_system(self.uri)
        self._whole = self.files.type_name in OBJECT_STORES

    def below(self, name: str) -> Store:
        return Store(f"{self.uri}/{name}", self.patience)

    def check(self) -> None:
        """Write, read and delete an object.

        Raises:
            RequestError: that is not possible.
        """
        name = f".probe-{uuid.uuid4().hex}"
        trial = Store(self.uri, patience=3.0)
        try:
            trial.put(name, b"hsray")
            if trial.get(name) != b"hsray":
                raise RequestError("the store gives back other than was written", where=self.uri)
            trial.delete(name)
        except MachineFault as error:
            raise RequestError(error.what, where=self.uri, do=FROM_ENVIRONMENT) from None

    def put(self, name: str, content: bytes) -> None:
        self._patiently(lambda: self._put(f"{self.root}/{name}", content))

    def get(self, name: str) -> bytes | None:
        """The content; None where there is no such object."""

        def read() -> bytes:
            with self.files.open_input_stream(f"{self.root}/{name}") as stream:
                return stream.read()

        try:
            return self._patiently(read)
        except FileNotFoundError:
            return None

    def delete(self, name: str) -> None:
        """Delete an object, which need not be there."""
        try:
            self._patiently(lambda: self.files.delete_file(f"{self.root}/{name}"))
        except FileNotFoundError:
            return

    def entry(self, name: str) -> Entry | None:
        found = self._patiently(lambda: self.files.get_file_info(f"{self.root}/{name}"))
        return Entry(found.size, found.mtime.timestamp()) if found.type == FileType.File else None

    def list(self, name: str = "") -> dict[str, Entry]:
        """All objects below a name, by their names below it."""
        base = f"{self.root}/{name}".rstrip("/")
        selector = FileSelector(base, recursive=True, allow_not_found=True)
        found = self._patiently(lambda: self.files.get_file_info(selector))
        files = [info for info in found if info.type == FileType.File and not info.base_name.startswith(".")]
        files = [info for info in files if ".." not in info.path.split("/")]  # a stranger's: names become paths here
        return {info.path.removeprefix(base + "/"): Entry(info.size, info.mtime.timestamp()) for info in files}

    def _put(self, path: str, content: bytes) -> None:
        if self._whole:
            with self.files.open_output_stream(path) as stream:
                stream.write(content)
            return
        folder, _, last = path.rpartition("/")
        partial = f"{folder}/.{last}.{uuid.uuid4().hex}"
        self.files.create_dir(folder, recursive=True)
        with self.files.open_output_stream(partial) as stream:
            stream.write(content)
        self.files.move(partial, path)

    def _patiently(self, action: Callable[[], T]) -> T:
        started, failures = time.monotonic(), 0
        while True:
            try:
                return action()
            except FileNotFoundError:
                raise
            except OSError as error:
                if time.monotonic() - started >= self.patience:
                    raise MachineFault(
                        f"the store of the runs does not do its work: {error}",
                        where=self.uri,
                        do="see that it answers and that the credentials in the environment hold; then the same "
                        "command goes on",
                    ) from None
                time.sleep(WAITS_S[min(failures, len(WAITS_S) - 1)])
                failures += 1


@lru_cache(maxsize=8)
def store_at(uri: str) -> Store:
    """One connection a process."""
    return Store(uri)
