"""What Tune pickles by name. Light on purpose: an actor is up before it imports torch, in its first run.

Tune gives a waiting run to the first actor that is free and throws away the one that was being started for it. Where
actors take longer to start than runs to end, all runs would go through one actor.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from ray.tune import PlacementGroupFactory

from hsray.sweep.cluster.needs import DRIVER_CPU, Need


def in_actor(config: dict[str, Any]) -> None:
    """A run with one worker."""
    from hsray.sweep.execution import run_in_actor

    run_in_actor(config)


def distributed(config: dict[str, Any]) -> None:
    """A run with several workers, under Ray Train."""
    from hsray.sweep.execution import run_distributed

    run_distributed(config)


def by_need(run_one: Callable[[dict[str, Any]], None]) -> Callable[[dict[str, Any]], None]:
    """One trainable for all runs of a sweep. Tune keeps actors for runs that ask for the same."""

    def run(config: dict[str, Any]) -> None:
        # How long Tune waits for a stopped run to leave its actor before it gives the next one up: readers that work
        # ahead take their time.
        os.environ.setdefault("TUNE_FUNCTION_THREAD_TIMEOUT_S", "60")
        one = Need.model_validate_json(config["need"]).workers == 1
        (run_one if one else distributed)(config)

    return run


def request(config: dict[str, Any]) -> PlacementGroupFactory:
    """What the actor of a run takes: all of it, or the little that is left to the driver of several workers."""
    need = Need.model_validate_json(config["need"])
    if need.workers > 1:
        return PlacementGroupFactory([{"CPU": DRIVER_CPU}])
    selectors: dict[str, Any] = {"bundle_label_selector": [dict(need.labels)]} if need.labels else {}
    return PlacementGroupFactory([need.each], **selectors)
