"""What the doctor finds, and what can be done about it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Level = Literal["mends itself", "kept", "safe to mend", "asks first", "look at it"]


@dataclass(frozen=True)
class Finding:
    """One thing that is not as it should be.

    `mend` is safe: it deletes no data, or leftovers that nothing reads. `told` deletes data, or touches what may be
    someone else's: only on demand, by `name`. Neither: a person has to look. `itself`: nothing has to be done; it goes
    with the next command, or may stay; where it `stays` no command takes it. `sweep` is the folder of the sweep that it
    concerns, which must not be running meanwhile.
    """

    kind: str
    name: str
    what: str
    bytes: int = 0
    mend: Callable[[], None] | None = None
    told: Callable[[], None] | None = None
    itself: bool = False
    stays: bool = False
    sweep: Path | None = None

    @property
    def level(self) -> Level:
        if self.itself:
            return "kept" if self.told or self.stays else "mends itself"
        return "safe to mend" if self.mend else "asks first" if self.told else "look at it"


def tree_bytes(path: Path) -> int:
    """Of a file, or of all files under a folder."""
    files = [path] if path.is_file() else [one for one in path.rglob("*") if one.is_file()]
    return sum(one.stat().st_size for one in files)
