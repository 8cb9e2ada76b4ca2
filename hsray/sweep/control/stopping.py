"""Asking a sweep to stop: a file in its folder, which its runs look at, on whatever machine they are."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

STOP = "stop"


def request_stop(sweep_folder: Path, reason: str) -> None:
    """Runs save where they are and end, and nothing more is handed out. The reason is for people."""
    path = sweep_folder / STOP
    path.touch()  # says all that runs ask for, and has room on a full disk
    with suppress(OSError):
        path.write_text(reason, "utf-8")


def clear_stop(sweep_folder: Path) -> None:
    """Forget the request."""
    (sweep_folder / STOP).unlink(missing_ok=True)


def stop_requested(sweep_folder: Path) -> bool:
    """Whether the sweep shall stop; a look at one file's name."""
    return (sweep_folder / STOP).exists()
