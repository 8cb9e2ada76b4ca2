"""Where a run stands. All of it is in the checkpoint."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch


@dataclass
class Progress:
    """`epoch` epochs are done and `update` updates of the next one, whose loss so far is `loss` over `pixels`."""

    epoch: int = 0
    update: int = 0
    loss: float = 0.0
    pixels: float = 0.0
    best: float = -1.0
    best_epoch: int = -1
    best_metrics: dict[str, float] = field(default_factory=dict)
    best_state: dict[str, torch.Tensor] = field(default_factory=dict)
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._since: float | None = None

    def note(self, text: str) -> None:
        """Something that people should know of the run, said once."""
        if text not in self.notes:
            self.notes.append(text)

    def next_epoch(self) -> None:
        self.epoch, self.update, self.loss, self.pixels = self.epoch + 1, 0, 0.0, 0.0

    def resume_clock(self) -> None:
        self._since = time.monotonic()

    def pause_clock(self) -> None:
        """Count the time since the clock was resumed, if it runs."""
        if self._since is not None:
            self.seconds += time.monotonic() - self._since
        self._since = None
