"""How many runs of a cell have ended, from the run folders alone."""

from __future__ import annotations

from pathlib import Path


def ended_runs(folder: Path) -> tuple[int, int]:
    """(trials, finals) of a cell's folder that left a result."""
    return len(list(folder.glob("trial-*/result.json"))), len(list(folder.glob("final-*/result.json")))
