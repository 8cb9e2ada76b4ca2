"""Work that a page must not wait for: done in a thread while somebody looks, and its last result is at hand."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Generic, TypeVar

from hsray.errors import HsrayError

T = TypeVar("T")
LOGGER = logging.getLogger(__name__)


class Background(Generic[T]):
    """Does `work` again when its result is asked for and is older than `every` seconds. All sessions share it."""

    def __init__(self, work: Callable[[], T], every: float) -> None:
        self._work, self._every = work, every
        self._lock = threading.Lock()
        self._done = threading.Event()
        self._began = -float("inf")
        self._ended = -float("inf")
        self._running = False
        self._result: T | None = None
        self.error: HsrayError | None = None

    def latest(self, wait: float = 0.6) -> T | None:
        """The last result; the first one is waited for up to `wait` seconds, and None if it takes longer.

        `error` says why the last attempt failed, None if it did not.
        """
        with self._lock:
            if not self._running and time.monotonic() - self._ended > self._every:
                self._running = True
                self._began = time.monotonic()
                threading.Thread(target=self._run, name="hsray-dashboard", daemon=True).start()
        self._done.wait(wait)
        return self._result

    @property
    def busy_for(self) -> float:
        """Seconds since the work under way began; 0 where none is."""
        return time.monotonic() - self._began if self._running else 0.0

    def _run(self) -> None:
        try:
            self._result, self.error = self._work(), None
        except HsrayError as error:
            self.error = error
        except Exception as error:  # beyond this thread nobody would hear of it, and the pages would wait for ever
            what = f"this should not have happened: {type(error).__name__}. The terminal of hsray dashboard says more"
            if self.error is None or self.error.what != what:  # once, not at every attempt
                LOGGER.error("in the background", exc_info=error)
            self.error = HsrayError(what)
        finally:
            self._ended = time.monotonic()
            self._running = False
            self._done.set()
