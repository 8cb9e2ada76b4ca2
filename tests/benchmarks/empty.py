"""A run as the sweep executes it, with nothing to train. Light to import, as the sweep's own trainables are."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from unittest.mock import patch


def run_empty(config: dict[str, Any]) -> None:
    """The sweep's own way through a Tune actor, without the training."""
    from hsray.sweep import execution

    with patch.object(execution, "fit", _empty_fit):
        execution.run_in_actor(config)


def _empty_fit(config: Any, folder: Path, report: Any, **_: Any) -> dict[str, Any]:
    """What `hsray.training.fit` leaves behind."""
    from hsray.runlog import append_epoch
    from tests.benchmarks.bare import epoch_metrics

    started = time.time()
    metrics = epoch_metrics(config.training.lr)
    for epoch in range(config.training.epochs):
        append_epoch(folder, epoch, metrics)
        report(epoch, metrics)
    return {
        "state": "COMPLETE", "reason": None, "started": started, "ended": time.time(), "best_epoch": 0,
        "metrics": metrics, "artifacts": [],
    }  # fmt: skip
