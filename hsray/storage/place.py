"""Where a sweep's driver works, and what it tells its place of the runs."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from hsray.tracking.owner import place_of


class Home:
    """A sweep's folder that every node sees: there is nothing to do."""

    ticket: str | None = None  # what a run on another machine needs to find the store

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.at = place_of(folder)  # for people, and to tell it from others

    def keep(self, file: Path) -> None:
        """A file of the sweep that must outlive this machine."""

    def hand_out(self, run: Path) -> None:
        """A run is about to start; its `spec.json` is written."""

    def heard(self, run: Path, line: str | None) -> None:
        """An epoch of a run, as its log has it."""

    def ended(self, run: Path) -> None:
        """A run's process has ended: bring log and result, if it left one."""

    def decided(self, run: Path) -> None:
        """The driver wrote the result of a run itself."""

    def discard(self, file: Path) -> None:
        """Delete a file of a run, which need not be there. One that cannot be deleted stays."""
        with suppress(OSError):
            file.unlink(missing_ok=True)

    @contextmanager
    def borrowed(self, run: Path, names: Sequence[str]) -> Iterator[None]:
        """Files of a run are here for as long."""
        yield
