"""Seconds that this process spends inside given functions."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch


class Stopwatch:
    """`seconds` by part. Inner functions of a timed one must not be timed too."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = defaultdict(float)

    @contextmanager
    def timed(self, part: str, owner: Any, *names: str) -> Iterator[None]:
        """Time these functions of a class or module while the context lasts."""
        wrapped = {name: self._wrap(part, getattr(owner, name)) for name in names}
        with patch.multiple(owner, **wrapped):
            yield

    def _wrap(self, part: str, function: Any) -> Any:
        def wrapper(*arguments: Any, **options: Any) -> Any:
            started = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                self.seconds[part] += time.perf_counter() - started

        return wrapper
