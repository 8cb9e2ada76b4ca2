"""A checkpoint of a run: enough to go on as if nothing had happened. Tensors only, never pickled objects."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from hsray.runlog import write_atomically

NAME = "last.pt"


def save(folder: Path, state: dict[str, Any]) -> None:
    """Replace the folder's checkpoint as a whole."""
    buffer = io.BytesIO()
    torch.save(state, buffer)
    write_atomically(folder / NAME, buffer.getvalue())


def load(folder: Path) -> dict[str, Any] | None:
    """The checkpoint, or None where there is none."""
    path = folder / NAME
    if not path.exists():
        return None
    return torch.load(path, map_location="cpu", weights_only=True)
