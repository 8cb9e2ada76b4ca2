"""What a run leaves on disk: `spec.json`, `epochs.jsonl` line by line, and `result.json` once it has ended.

These files are written before anything else learns of them; MLflow and the ledger can be written again from them.
"""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from hsray.errors import MachineFault

SPEC, EPOCHS, RESULT = "spec.json", "epochs.jsonl", "result.json"
_NO_LINKS = {errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which file cannot be written, and why.

    Raises:
        MachineFault: an OSError in the block, such as a full disk.
    """
    try:
        yield
    except OSError as error:
        raise MachineFault(
            f"cannot write {path.name}: {error.strerror or error}",
            where=str(path),
            do="make room, or mend the folder; then run the same command again",
        ) from error


@contextmanager
def replacing(path: Path, put: Callable[[Path, Path], object] = Path.replace) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` as a whole when the block ends; after a fault nothing is left.

    `put(partial, path)` brings it there.

    Raises:
        MachineFault: it cannot be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with writing(path):
        try:
            with partial.open("wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            put(partial, path)
        finally:
            partial.unlink(missing_ok=True)


def remove_partials(folder: Path, names: Collection[str]) -> None:
    """Remove what attempts that were killed while writing these files have left. Nobody else may be writing them.

    Raises:
        MachineFault: it cannot be removed.
    """
    with writing(folder):
        for partial in folder.glob(".*.*"):
            if partial.suffix[1:].isdigit() and partial.stem[1:] in names:
                partial.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Either the whole file is there or nothing of it.

    Raises:
        MachineFault: it cannot be written.
    """
    with replacing(path) as file:
        file.write(content)


def write_json(path: Path, content: Any) -> None:
    """Raises MachineFault."""
    write_atomically(path, _json(content))


def write_json_once(path: Path, content: Any) -> None:
    """Write the file, or keep the one that is there: of several processes the first wins. Raises MachineFault."""
    with replacing(path, _put_once) as file:
        file.write(_json(content))


def _put_once(partial: Path, path: Path) -> None:
    try:
        os.link(partial, path)  # looks and creates in one step
    except FileExistsError:
        pass
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        if not path.exists():
            partial.replace(path)


def _json(content: Any) -> bytes:
    return json.dumps(content, indent=1, sort_keys=True, default=str).encode()


def read_json(path: Path) -> Any | None:
    """The content, or None where the file is not there."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None


def append_epoch(folder: Path, epoch: int, metrics: dict[str, float]) -> None:
    """One line; a crash can tear the last one only, and readers leave a torn line out. Raises MachineFault."""
    line = json.dumps({"epoch": epoch, "time": time.time(), "metrics": metrics})
    with writing(folder / EPOCHS), (folder / EPOCHS).open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def sync_epochs(folder: Path) -> None:
    """Have the log on the disk itself, so that a checkpoint that follows is never ahead of it. Raises MachineFault."""
    path = folder / EPOCHS
    if path.exists():
        with writing(path), path.open("rb") as file:
            os.fsync(file.fileno())


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """Whole lines, in the order in which they were written."""
    path = folder / EPOCHS
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:  # torn by a crash
            continue
        if _whole(record):
            records.append(record)
    return records


def _whole(record: Any) -> bool:
    if not isinstance(record, dict) or not isinstance(record.get("metrics"), dict):
        return False
    return isinstance(record.get("epoch"), int) and isinstance(record.get("time"), int | float)


def keep_epochs(folder: Path, count: int) -> list[dict[str, Any]]:
    """Forget what came after the checkpoint that a run goes on from; those epochs are trained and logged again.

    Raises:
        MachineFault: the log cannot be written.
    """
    kept = [record for record in read_epochs(folder) if record["epoch"] < count]
    if (folder / EPOCHS).exists():
        write_atomically(folder / EPOCHS, "".join(json.dumps(r) + "\n" for r in kept).encode())
    return kept
