"""Invented runs as hsray writes them to MLflow: cells with ten finals in every 500 runs, the rest trials."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from random import Random

DATASETS = ("hcv2", "hsidrive", "hyko2", "indian-pines")
STRATEGIES = {
    "runet": "in-domain", "unet3d": "in-domain", "spectral-mlp": "in-domain", "deeplab": "cross-modality",
    "efficientnet": "cross-modality", "segformer": "cross-modality", "hypersl": "cross-domain",
    "hypersigma": "cross-domain", "spectralearth": "cross-domain", "dofa": "cross-domain",
}  # fmt: skip
FRACTIONS = (0.05, 0.1, 0.25, 0.5, 1.0)
CELLS = tuple(product(DATASETS, STRATEGIES, FRACTIONS))
BLOCK, FINALS = 500, 10  # of a cell's runs 0 … 499 the first ten are finals, and so on
IMAGES = 400  # of every dataset, for training
START_MS, EVERY_MS = 1_760_000_000_000, 20_000
SCORES = ("accuracy_micro", "accuracy_macro", "f1_macro", "jaccard_macro")
REASONS = ("out of memory", "loss is not finite", "the worker died")


@dataclass(frozen=True)
class InventedRun:
    """`status` is MLflow's. 20 metrics, 20 parameters, 12 tags or more; `ended_ms` is None while it runs."""

    run_id: str
    name: str
    status: str
    started_ms: int
    ended_ms: int | None
    metrics: dict[str, float]
    params: dict[str, str]
    tags: dict[str, str]


def invented(first: int, count: int, cells: int = len(CELLS)) -> Iterator[InventedRun]:
    """The runs first … first + count - 1 of the first `cells` cells in turn. Run i is the same whoever asks."""
    return (_run(index, cells) for index in range(first, first + count))


def _run(index: int, cells: int) -> InventedRun:
    random = Random(index)
    number, place = divmod(index, cells)
    block, within = divmod(number, BLOCK)
    is_final = within < FINALS
    draw = random.random()
    if is_final:
        state, seed, kind = "failed" if draw < 0.01 else "complete", block * FINALS + within, "final"
    else:
        state = next(name for name, up_to in _SHARES if draw < up_to)
        seed, kind = 0, "trial"
    params = _params(random)
    status = {"running": "RUNNING", "failed": "FAILED"}.get(state, "FINISHED")
    started = START_MS + index * EVERY_MS
    seconds = (30.0 if state == "pruned" else 300.0) * random.uniform(0.7, 1.5)
    return InventedRun(
        run_id=f"{random.getrandbits(128):032x}",
        name=f"{CELLS[place][1]} {kind} {seed if is_final else number}",
        status=status,
        started_ms=started,
        ended_ms=None if state == "running" else started + int(1000 * seconds),
        metrics=_metrics(random, place, params, is_final and state == "complete", seconds),
        params=params,
        tags=_tags(place, kind, seed, number, state, random),
    )


_SHARES = (("complete", 0.6), ("pruned", 0.95), ("failed", 0.9999), ("running", 1.0))


def _params(random: Random) -> dict[str, str]:
    return {
        "lr": repr(10 ** random.uniform(-5, -1)), "weight_decay": repr(10 ** random.uniform(-6, -2)),
        "batch": random.choice(("4", "8", "16")), "adapter": random.choice(("full", "lora", "frozen")),
        "adapter_rank": random.choice(("4", "8", "16")), "optimizer": "adamw", "schedule": "cosine", "warmup": "0.05",
        "dropout": repr(round(random.uniform(0, 0.5), 3)), "loss": "cross-entropy", "label_smoothing": "0.0",
        "crop": "256", "flip": "True", "rotate": "True", "epochs": "60", "patience": "12", "decoder": "unet",
        "channels": "64", "precision": "bf16", "gradient_clip": "1.0",
    }  # fmt: skip


def _metrics(random: Random, place: int, params: dict[str, str], tested: bool, seconds: float) -> dict[str, float]:
    """Scores that rise with the fraction and fall away from the best learning rate."""
    dataset, strategy, fraction = CELLS[place]
    skill = 0.35 + 0.04 * list(STRATEGIES).index(strategy) + 0.03 * DATASETS.index(dataset)
    rate = 0.0 if tested else abs(math.log10(float(params["lr"])) + 3) * 0.05
    jaccard = min(0.98, max(0.01, skill * (1 + 0.12 * math.log2(fraction) / 4) - rate + random.gauss(0, 0.015)))
    names = ("test", "val") if tested else ("val", "train")
    lift = dict(zip(SCORES, (0.3, 0.15, 0.1, 0.0), strict=True))
    scores = {f"{part}/{name}": jaccard + (1 - jaccard) * lift[name] for part in names for name in SCORES}
    return scores | {
        "train/loss": 1 - jaccard, "val/loss": 1.1 - jaccard, "lr": 1e-6, "best_epoch": float(random.randrange(60)),
        "cost/seconds": seconds, "cost/device_seconds": seconds, "cost/features_seconds": 12.5,
        "cost/samples_per_second": random.uniform(50, 90), "labelled_images": float(round(IMAGES * fraction)),
        "parameters/trained": 1.2e6, "parameters/total": 8.6e7, "cost/peak_memory_bytes": random.uniform(4e9, 9e9),
    }  # fmt: skip


def _tags(place: int, kind: str, seed: int, number: int, state: str, random: Random) -> dict[str, str]:
    dataset, strategy, fraction = CELLS[place]
    axes = {"dataset": dataset, "strategy": strategy, "fraction": fraction}
    cell = ",".join(f"{name}={value}" for name, value in axes.items()) + f"@{place:08x}"
    config = f"{random.getrandbits(32):08x}"
    tags = {
        "hsray.key": f"{cell}/{kind}-{number}/{config}", "hsray.kind": kind, "hsray.cell": cell,
        "hsray.dataset": dataset, "hsray.task": "segmentation", "hsray.strategy": strategy,
        "hsray.family": STRATEGIES[strategy], "hsray.fraction": str(fraction), "hsray.seed": str(seed),
        "hsray.config": config, "hsray.axes": json.dumps(axes),
    }  # fmt: skip
    if state != "running":
        tags["hsray.state"] = state
    if state == "failed":
        tags["hsray.reason"] = random.choice(REASONS)
    if (dataset, strategy) == ("indian-pines", "hypersl"):
        tags["hsray.contaminated"] = "indian-pines"
    return tags
