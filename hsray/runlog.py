"""What a run leaves on disk: `spec.json`, `epochs.jsonl` line by line, and `result.json` once it has ended.

These files are written before anything else learns of them; MLflow and the ledger can be written again from them.
"""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any


def write_atomically(path: Path, content: bytes) -> None:
    """Either the whole file is there or nothing of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    with partial.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


def write_json(path: Path, content: Any) -> None:
    write_atomically(path, json.dumps(content, indent=1, sort_keys=True, default=str).encode())


def read_json(path: Path) -> Any | None:
    """The content, or None where the file is not there."""
    try:
        return json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None


def append_epoch(folder: Path, epoch: int, metrics: dict[str, float]) -> None:
    """One line; a crash can tear the last one only, and readers leave a torn line out."""
    line = json.dumps({"epoch": epoch, "time": time.time(), "metrics": metrics})
    with (folder / "epochs.jsonl").open("a", encoding="utf-8") as file:
        file.write(line + "\n")


def read_epochs(folder: Path) -> list[dict[str, Any]]:
    """Whole lines, in the order in which they were written."""
    path = folder / "epochs.jsonl"
    if not path.exists():
        return []
    records = []
    for line in path.read_bytes().split(b"\n"):
        try:
            record = json.loads(line)
        except ValueError:  # torn by a crash
            continue
        if isinstance(record, dict) and {"epoch", "time", "metrics"} <= record.keys():
            records.append(record)
    return records


def keep_epochs(folder: Path, count: int) -> list[dict[str, Any]]:
    """Forget what came after the checkpoint that a run goes on from; those epochs are trained and logged again."""
    kept = [record for record in read_epochs(folder) if record["epoch"] < count]
    if (folder / "epochs.jsonl").exists():
        write_atomically(folder / "epochs.jsonl", "".join(json.dumps(r) + "\n" for r in kept).encode())
    return kept
