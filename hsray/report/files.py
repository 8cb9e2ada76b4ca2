"""The files of runs, for a report that is made of what there is: what cannot be had is noted and not raised."""

from __future__ import annotations

import json
from collections import Counter
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsray.errors import HsrayError, RequestError
from hsray.leaderboard.confusions import CONFUSION, KEPT, Confusions, read_confusions

if TYPE_CHECKING:
    from hsray.leaderboard.mirror import Mirror

MOST_TEXT = 2**20


class Files:
    """Files by run and name. Once MLflow does not answer it is asked no more, and only kept copies are found."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._problems: Counter[str] = Counter()
        self.confusions = lru_cache(maxsize=KEPT)(self._confusions)

    def path(self, run_id: str, name: str) -> Path | None:
        """Where a copy lies; None where the run has no such file or it cannot be fetched."""
        try:
            return self._mirror.artifact(run_id, name)
        except RequestError as error:
            self.note(f"files of runs could not be fetched: {error.what}")
            self._mirror.offline = True
        except HsrayError as error:
            self.note(f"{name}: {error.what}")
        return None

    def text(self, run_id: str, name: str) -> str | None:
        path = self.path(run_id, name)
        if path is None:
            return None
        with path.open("rb") as file:
            return file.read(MOST_TEXT).decode("utf-8", errors="replace")

    def json(self, run_id: str, name: str) -> dict[str, Any] | None:
        text = self.text(run_id, name)
        if text is None:
            return None
        try:
            content = json.loads(text)
        except ValueError:
            content = None
        if isinstance(content, dict):
            return content
        self.note(f"{name} of a run is no JSON object")
        return None

    def note(self, problem: str) -> None:
        self._problems[problem] += 1

    def notes(self) -> list[str]:
        """What went wrong, each once with its count."""
        return [f"{what} ({count}×)" if count > 1 else what for what, count in sorted(self._problems.items())]

    def _confusions(self, run_id: str) -> Confusions | None:
        path = self.path(run_id, CONFUSION)
        if path is None:
            return None
        try:
            return read_confusions(path)
        except HsrayError as error:
            self.note(error.what)
            return None
