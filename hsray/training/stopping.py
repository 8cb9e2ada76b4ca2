"""Being asked to stop: looked up now and then, and once asked, for good."""

from __future__ import annotations

import time
from collections.abc import Callable

EVERY = 0.2  # seconds; the question may be a file on another machine


def never() -> bool:
    """Nobody asks."""
    return False


class Stop:
    """`stop()` as often as one likes, `asked` now and then."""

    def __init__(self, asked: Callable[[], bool]) -> None:
        self._asked, self._answer, self._looked = asked, False, -EVERY

    def __call__(self) -> bool:
        now = time.monotonic()
        if not self._answer and now - self._looked >= EVERY:
            self._answer, self._looked = self._asked(), now
        return self._answer
