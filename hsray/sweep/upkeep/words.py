"""How a sweep's state is said, on the terminal and in the dashboard alike."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hsray.sweep.upkeep.status import Counts

STATES = ("done", "running", "failed", "open", "missing")


def total(counts: Sequence[Counts]) -> Counts:
    """The sums over cells."""
    names = ("planned", "done", "running", "failed", "open")
    return type(counts[0])(**{name: sum(getattr(one, name) for one in counts) for name in names})


def ago(seconds: float) -> str:
    """A time that has passed, in its greatest unit that is not too coarse."""
    if seconds < 120:
        return f"{max(0, seconds):.0f} s"
    minutes = seconds / 60
    if minutes < 120:
        return f"{minutes:.0f} min"
    return f"{minutes / 60:.0f} h" if minutes < 2880 else f"{minutes / 1440:.0f} days"
