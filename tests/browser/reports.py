"""Sweeps as folders and MLflow stores, made without training, that a report has to cope with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from hsray.tracking import Tracker
from tests.tracking import folders
from tests.tracking.folders import HERE, FakeRun

HOSTILE = "<img src=x onerror=alert(1)>"
REASON = "</pre></script><script>alert('reason')</script> & \"quotes\" {braces} $dollar ${page}"


def deliver(folder: Path, name: str) -> str:
    """The sweep in `folder`/runs/`name` to `folder`/mlflow.db; the store's address."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    tracker = Tracker(uri, name)
    tracker.reconcile(folder / "runs" / name, HERE)
    assert tracker.flush(300) == 0
    tracker.close()
    return uri


def sweep_dir(folder: Path, name: str) -> Path:
    made = folder / "runs" / name
    made.mkdir(parents=True)
    manifest = {"git": None, "python": "3.11", "packages": {"torch": "2.14", HOSTILE: "1"}, "gpus": []}
    (made / "manifest.json").write_text(json.dumps(manifest))
    (made / "experiment.yaml").write_text(f"name: demo\n# {REASON}\n{'x' * 300}\n")
    return made


def cell(runs: Path, skill: float, *, seeds: int = 3, trials: int = 2, contaminated: bool = False, **axes) -> None:
    """Trials and finals of one cell."""
    folders.FAMILIES.setdefault(axes["strategy"], "in-domain")
    tags = {"hsray.contaminated": "true"} if contaminated else {}
    generator = np.random.default_rng(int(1000 * skill))
    for number in range(trials):
        trial = FakeRun(runs, "trial", number, **axes).start(**tags).epochs(0, 2)
        trial.end(**{"val/jaccard_macro": skill - 0.1 + 0.05 * number, "cost/device_seconds": 60.0 * (number + 1)})
    for seed in range(seeds):
        final = FakeRun(runs, "final", seed, **axes).start(**tags).epochs(0, 1)
        final.end_final(generator, skill + generator.normal(0, 0.02))


def plain(folder: Path) -> str:
    """Three strategies, two fractions."""
    runs = sweep_dir(folder, "plain")
    for place, strategy in enumerate(("runet", "efficientnet", "hypersl")):
        for fraction in (0.25, 1.0):
            cell(runs, 0.4 + 0.15 * place + 0.1 * fraction, strategy=strategy, fraction=fraction)
    return deliver(folder, "plain")


def crowded(folder: Path) -> str:
    """Twenty strategies with hostile, long and contaminated ones, two datasets, official fractions, failures."""
    runs = sweep_dir(folder, "crowded")
    names = [HOSTILE, "a-strategy-with-a-very-long-name-that-never-seems-to-end-" + "x" * 60]
    names += [f"strategy-{number:02d}" for number in range(18)]
    for place, strategy in enumerate(names):
        for fraction in (0.1, "official:10", 1.0) if place < 2 else (1.0,):
            cell(
                runs, 0.3 + 0.02 * place, seeds=3 if place < 2 else 1, trials=2 if place < 2 else 0,
                strategy=strategy, fraction=fraction, contaminated=place == 3,
            )  # fmt: skip
    for strategy in names[:2]:
        cell(runs, 0.5, seeds=2, trials=0, strategy=strategy, fraction=1.0, dataset="hyko2")
    FakeRun(runs, "trial", 0, strategy=names[5], fraction=0.5).start().end("FAILED", REASON)
    return deliver(folder, "crowded")


def bare(folder: Path) -> str:
    """Trials that failed, and nothing else: no final, no picture, no manifest."""
    runs = sweep_dir(folder, "bare")
    FakeRun(runs, "trial", 0).start().end("FAILED", REASON)
    return deliver(folder, "bare")


def spectral(folder: Path) -> str:
    """One strategy, one seed, finals without artefacts, as from loose spectra of an older version."""
    runs = sweep_dir(folder, "spectral")
    (runs / "manifest.json").unlink()
    (runs / "experiment.yaml").unlink()
    scores = {f"test/{name}": 0.5 for name in ("accuracy_micro", "accuracy_macro", "f1_macro", "jaccard_macro")}
    FakeRun(runs, "final", 0, fraction=1.0).start(**{"hsray.task": "spectral"}).end(**scores)
    return deliver(folder, "spectral")
