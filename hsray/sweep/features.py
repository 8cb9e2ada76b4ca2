"""Features of frozen encoders, computed once before the trials that share them, where the devices are."""

from __future__ import annotations

from pathlib import Path

import ray
from ray.exceptions import RayTaskError

from hsray.datasets import SPLITS
from hsray.strategies.features import (
    check_room,
    ensure_features,
    features_bytes,
    images_done,
    size_text,
)
from hsray.strategies.strategy import Strategy
from hsray.sweep.cells import Cell
from hsray.sweep.live import LiveView
from hsray.sweep.preflight.disk import missing_bytes, wanted_features


def prepare_features(cells: list[Cell], cache: Path, view: LiveView) -> None:
    """Fill the cache with all that these cells will read. Raises RequestError where it cannot be computed."""
    wanted = wanted_features(cells, cache)
    missing = {folder: request for folder, request in wanted.items() if not folder.is_dir()}
    check_room(missing_bytes(wanted), cache)  # before hours go into the first of them
    for folder, (cell, recipe) in missing.items():
        _compute(folder, cell, recipe, cache, view)


def _compute(folder: Path, cell: Cell, recipe: Strategy, cache: Path, view: LiveView) -> None:
    title = f"features of {cell.store.name} under {recipe.name} ({size_text(features_bytes(cell.store, recipe))})"
    view.say(f"{title}, computed once")
    total = sum(len(cell.store.images(split)) for split in SPLITS)
    gpus = 1 if ray.cluster_resources().get("GPU") else 0
    cpus = 1 if gpus else max(node["Resources"].get("CPU", 0) for node in ray.nodes())
    task = ray.remote(num_gpus=gpus, num_cpus=cpus)(ensure_features).remote(cell.store, recipe, cache)
    while not ray.wait([task], timeout=1.0)[0]:
        view.message = f"{title}: {images_done(folder)} of {total} images"
    try:
        ray.get(task)
    except RayTaskError as error:  # carries the remote traceback; its cause is what a user can read
        raise error.cause from None
