"""Ray Tune alone with the same reports: what a trial costs before anything of ours is added."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from ray import tune

EPOCHS = 3


def epoch_metrics(score: float) -> dict[str, float]:
    """As many metrics as a run reports after an epoch."""
    names = ("jaccard_macro", "accuracy_micro", "accuracy_macro", "f1_macro", "loss")
    return {f"val/{name}": score for name in names} | {"train/loss": 1 - score, "lr": 1e-3, "cost/seconds": 0.0}


def _report(config: dict[str, Any]) -> None:
    for epoch in range(EPOCHS):
        tune.report({"epoch": epoch, **epoch_metrics(config["lr"])})


def bare_tune(trials: int, slots: int, folder: Path) -> float:
    """Wall time in seconds of `trials` trials, `slots` at a time."""
    started = time.perf_counter()
    tune.Tuner(
        tune.with_resources(_report, {"cpu": 1}),
        param_space={"lr": tune.loguniform(1e-4, 1e-1)},
        tune_config=tune.TuneConfig(num_samples=trials, max_concurrent_trials=slots, reuse_actors=True),
        run_config=tune.RunConfig(storage_path=str(folder), verbose=0),
    ).fit()
    return time.perf_counter() - started
