"""What every reader owes to every input: a result or a clear error, within two seconds and a gigabyte."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from hsray.errors import HsrayError

SECONDS = 2.0
BYTES = 1 << 30


@contextmanager
def _at_most(more_bytes: int) -> Iterator[None]:
    """Address space may grow by so much; asking for more raises MemoryError."""
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def holds(read: Callable[[], Any]) -> bool:
    """Whether the input was read; False where it was refused. Anything else fails.

    Time is the processor's: how busy the machine is does not matter.
    """
    started = time.process_time()
    try:
        with _at_most(BYTES), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            read()
        read_whole = True
    except HsrayError as error:
        assert not _from_memory(error), f"it asked for more than {BYTES >> 30} GB"
        assert error.what.strip() and "Traceback" not in str(error)
        read_whole = False
    taken = time.process_time() - started
    assert taken < SECONDS, f"it took {taken:.1f} s"
    return read_whole


def _from_memory(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, MemoryError):
            return True
        error = error.__cause__ or error.__context__
    return False
