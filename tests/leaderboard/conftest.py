from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hsray.tracking import Tracker
from tests.tracking.conftest import empty_store, sweep_dir, uri
from tests.tracking.folders import HERE, FakeRun

__all__ = ["empty_store", "sweep_dir", "uri"]

Deliver = Callable[..., str]


@pytest.fixture
def delivered(uri: str, sweep_dir: Path) -> Deliver:
    """Write the runs of the sweep's folder to a real store; returns its address."""

    def deliver(*current: FakeRun) -> str:
        tracker = Tracker(uri, "demo")
        tracker.reconcile(sweep_dir, HERE)
        if current:
            keys: dict[str, list[str]] = {}
            for run in current:
                keys.setdefault(run.cell, []).append(run.key)
            tracker.supersede(keys)
        assert tracker.flush(60) == 0
        assert not tracker.refused
        tracker.close()
        return uri

    return deliver
