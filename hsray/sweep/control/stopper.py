"""What ends a sweep early: Ctrl-C, SIGTERM, a cap. Its runs are asked to save, and nobody waits for them for ever."""

from __future__ import annotations

import os
import select
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, cast

from hsray.processes import descendants, kill
from hsray.sweep.control.stopping import request_stop

SIGNALS = {int(signal.SIGINT): "Ctrl-C", int(signal.SIGTERM): "SIGTERM"}
GIVE_UP = signal.SIGUSR2  # from our thread to the main thread, to get it out of waiting
PATIENCE_S = 6.5  # that runs get to save after a signal
LIMIT_S = 9.5  # after a signal; then the process ends, whatever it is doing
FLUSH_S = 2.0  # of it at most for each of: the last records to MLflow, closing the runs there
TICK_S = 0.2


class Stopper:
    """Watches for what ends a sweep early.

    The first signal is a KeyboardInterrupt where the sweep is: Ray starts, features are computed, records are written.
    Where runs are under way (`patient`) they are asked to stop, and the interrupt comes only if they do not. A second
    signal ends this process and all below it at once. Without `signals`, as in someone else's process, that process
    keeps its handlers.

    Python sees a signal between two of its instructions only, and a long call into a library has none: a thread of our
    own hears of signals by the wake-up descriptor.
    """

    def __init__(self, folder: Path, say: Callable[[str], None], *, signals: bool) -> None:
        self.folder, self.say, self.signals = folder, say, signals
        self.signum: int | None = None
        self.reason: str | None = None
        self.stopped_at: float | None = None  # wall clock
        self._patient = self._closed = self._interrupted = False
        self._give_up_at: float | None = None
        self._end_at: float | None = None
        self._before: dict[int, Any] = {}
        self._reader, self._writer = socket.socketpair()
        self._below: list[Any] = []
        self._thread = threading.Thread(target=self._watch, name="hsray-stopper", daemon=True)

    def __enter__(self) -> Stopper:
        if self.signals:
            self._writer.setblocking(False)
            os.register_at_fork(after_in_child=_hear_nothing)
            self._wakeup_before = signal.set_wakeup_fd(self._writer.fileno(), warn_on_full_buffer=False)
            self._before[GIVE_UP] = signal.signal(GIVE_UP, self._interrupt)
            self._hook_before, sys.unraisablehook = sys.unraisablehook, self._swallowed
            os.environ["TUNE_DISABLE_SIGINT_HANDLER"] = "1"  # Tune's would end its loop, and runs with it
            self.take_over()
            self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        if self.signals:
            self._closed = True
            self._thread.join()
            if self.signum is not None:
                self._end_all_below()
            signal.set_wakeup_fd(self._wakeup_before)
            sys.unraisablehook = self._hook_before
            for signum, handler in self._before.items():
                signal.signal(signum, handler)
        self._reader.close()
        self._writer.close()

    def take_over(self) -> None:
        """Handle the signals, again: Ray puts handlers of its own in their place when it starts."""
        for signum in SIGNALS if self.signals else ():
            handler = signal.getsignal(signum)
            if handler not in (signal.SIG_IGN, self._handle):  # what is ignored (nohup) stays ignored
                self._before.setdefault(signum, handler)
                signal.signal(signum, self._handle)

    def stop(self, reason: str, patience: float) -> None:
        """Ask the runs to end, and wait for them so many seconds."""
        if self.stopped_at is None:
            self.reason, self.stopped_at = self.reason or reason, time.time()
            try:
                request_stop(self.folder, reason)
            except OSError:  # the folder is gone, or cannot be written: nobody will hear
                patience = 0
        if self._patient:
            self._give_up_at = time.monotonic() + patience
            with suppress(OSError):  # nobody may be listening any more
                self.say(f"stopping ({reason}): runs save where they are; Ctrl-C leaves at once")
        else:  # where the system gave the signal to another thread, the main thread sleeps on
            self._give_up_at = time.monotonic() + TICK_S

    def flush_s(self, usual: float) -> float:
        """Seconds that the last records may take: after a signal only as many as are left."""
        return usual if self._end_at is None else max(0.2, min(usual, FLUSH_S, self._end_at - 1.5 - time.monotonic()))

    @contextmanager
    def patient(self) -> Iterator[None]:
        """Within it runs are under way, and end by themselves when they are asked to."""
        self._patient = True
        try:
            yield
        finally:
            self._patient, self._give_up_at = False, None

    def _handle(self, signum: int, frame: FrameType | None) -> None:
        self.signum = self.signum or signum
        self.reason = self.reason or SIGNALS[signum]
        if not self._patient:
            self._interrupt(signum, frame)

    def _interrupt(self, signum: int, frame: FrameType | None) -> None:
        """Once; out of waiting for runs, which may swallow it, as often as it takes."""
        if self._patient or not self._interrupted:
            self._interrupted = True
            raise KeyboardInterrupt

    def _swallowed(self, found: Any) -> None:
        """An interrupt that fell into a callback of the interpreter (after a fork) is lost there: it comes again."""
        if found.exc_type is not KeyboardInterrupt:
            self._hook_before(found)
            return
        self._interrupted, self._give_up_at = False, time.monotonic() + TICK_S

    def _watch(self) -> None:
        while not self._closed:
            ready, _, _ = select.select([self._reader], [], [], TICK_S)
            for signum in self._reader.recv(64) if ready else b"":
                if signum in SIGNALS:
                    self._caught(signum)
            now = time.monotonic()
            if self.signum is not None:
                self._below = self._below + [one for one in descendants() if one not in self._below]
            if self._end_at is not None and now > self._end_at:
                self._leave("the sweep did not end in time")
            if self._give_up_at is not None and now > self._give_up_at:
                self._give_up_at = now + 1 if self._patient else None
                signal.pthread_kill(cast(int, threading.main_thread().ident), GIVE_UP)

    def _caught(self, signum: int) -> None:
        if self._end_at is not None:
            self._leave(f"{SIGNALS[signum]}, again: left at once")
        self._end_at = time.monotonic() + LIMIT_S
        self.signum = self.signum or signum
        self.stop(SIGNALS[signum], PATIENCE_S)

    def _leave(self, why: str) -> None:
        cursor = "\033[?25h\n" if sys.stderr.isatty() else ""
        do = "run the same command again: it goes on from the last checkpoints"
        text = f"{cursor}error: {why}\n  where: {self.folder}\n  do:    {do}\n"
        with suppress(OSError):
            os.write(sys.stderr.fileno(), text.encode())
        self._end_all_below()
        os._exit(128 + (self.signum or signal.SIGINT))

    def _end_all_below(self) -> None:
        """A Ray that was interrupted while it started; workers of one that has shut down, which take their time."""
        kill(descendants() + self._below)


def _hear_nothing() -> None:
    """A child that has just been forked gets Ctrl-C as well, and would tell of it by the descriptor it inherited."""
    with suppress(ValueError):  # not its main thread
        signal.set_wakeup_fd(-1)
