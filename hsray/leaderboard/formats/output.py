"""Where a rendered table goes: standard output, as wide as the terminal, or a file that is not there yet."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

from hsray.errors import HsrayError

PIPED = 160  # characters: nothing to fit into


def write_out(render: Callable[[int, bool], str | bytes], out: Path | None) -> None:
    """Render for the width and colours (bold, underlined) of where it goes, and write it there.

    Raises:
        HsrayError: the file cannot be written.
    """
    if out is not None:
        content = render(PIPED, False)
        _write(out, content if isinstance(content, bytes) else content.encode() + b"\n")
        return
    content = render(_width(), sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    if isinstance(content, bytes):
        sys.stdout.flush()
        sys.stdout.buffer.write(content)
        sys.stdout.buffer.flush()
    else:
        print(content)


def _width() -> int:
    """As wide as the terminal, or as COLUMNS says."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() or os.environ.get("COLUMNS") else PIPED


def _write(path: Path, content: bytes) -> None:
    """The whole file or none of it."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_bytes(content)
        partial.replace(path)
    except OSError as error:
        raise HsrayError(
            f"the table cannot be written: {error.strerror}", where=str(path), do="name another file with --out"
        ) from None
    finally:
        partial.unlink(missing_ok=True)
