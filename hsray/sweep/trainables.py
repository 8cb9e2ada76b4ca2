"""What Tune pickles by name. Light on purpose: an actor is up before it imports torch, in its first run.

Tune gives a waiting run to the first actor that is free and throws away the one that was being started for it. Where
actors take longer to start than runs to end, all runs would go through one actor.
"""

from __future__ import annotations

from typing import Any


def in_actor(config: dict[str, Any]) -> None:
    """A run with one worker."""
    from hsray.sweep.execution import run_in_actor

    run_in_actor(config)


def distributed(config: dict[str, Any]) -> None:
    """A run with several workers, under Ray Train."""
    from hsray.sweep.execution import run_distributed

    run_distributed(config)
