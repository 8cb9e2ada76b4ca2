"""Ctrl-C and SIGTERM for a command that saves before it ends."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from hsray.commands.console import err
from hsray.errors import HsrayError, RunStopped


class Asked:
    """`asked()` tells whether the command shall stop."""

    signum = 0

    def __call__(self) -> bool:
        return self.signum != 0


@contextmanager
def saved_on_interrupt(where: Path) -> Iterator[Asked]:
    """Within it the first signal only asks; the second ends the command as it does elsewhere.

    Raises:
        HsrayError: the work stopped when it was asked to; exit code as shells have it.
    """
    asked = Asked()

    def ask(signum: int, frame: FrameType | None) -> None:
        asked.signum = signum
        for number, handler in before.items():
            signal.signal(number, handler)
        err.print("stopping: it saves where it is; Ctrl-C leaves at once")

    taken = [one for one in (signal.SIGINT, signal.SIGTERM) if signal.getsignal(one) is not signal.SIG_IGN]
    before = {signum: signal.signal(signum, ask) for signum in taken}
    try:
        yield asked
    except RunStopped:
        error = HsrayError("stopped; it saved where it was", where=str(where), do="run the same command again")
        error.exit_code = 128 + asked.signum
        raise error from None
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
