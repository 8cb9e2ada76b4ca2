"""What tells a sweep's folder from another of the same name: an id in its `ledger.json`, which moves with it."""

from __future__ import annotations

import uuid
from pathlib import Path

from hsray.errors import RequestError
from hsray.runlog import read_json, write_json
from hsray.sweep.ledger.ledgerfile import FORMAT

FILE = "ledger.json"


def known_id(folder: Path) -> str | None:
    """The folder's id; None where it has none yet. Raises RequestError where the file is spoilt."""
    path = folder / FILE
    try:
        content = read_json(path)
    except ValueError:
        content = {}
    if content is None:
        return None
    if not isinstance(content, dict) or not isinstance(found := content.get("id"), str):
        do = "restore it from a copy; or delete it, and the folder counts as a new one for MLflow and a shared ledger"
        raise RequestError("the file that holds the sweep's id cannot be read", where=str(path), do=do)
    return found


def sweep_id(folder: Path) -> str:
    """The folder's id, which is made where there is none: by its one driver. Raises as `known_id`, and MachineFault."""
    found = known_id(folder)
    if found is None:
        write_json(folder / FILE, {"format": FORMAT, "id": (found := uuid.uuid4().hex)})
    return found
