"""Features of frozen encoders, computed once before the trials that share them, where the devices are."""

from __future__ import annotations

from pathlib import Path

import ray
from ray.exceptions import RayTaskError

from hsray.datasets import SPLITS
from hsray.strategies.features import ensure_features, features_bytes, features_folder, images_done, is_cacheable
from hsray.strategies.strategy import Strategy
from hsray.sweep.cells import Cell
from hsray.sweep.live import LiveView


def prepare_features(cells: list[Cell], cache: Path, view: LiveView) -> None:
    """Fill the cache with all that these cells will read. Raises RequestError where it cannot be computed."""
    wanted = {
        features_folder(cell.store, recipe, cache): (cell, recipe)
        for cell in cells
        for recipe in _recipes(cell)
        if is_cacheable(recipe)
    }
    for folder, (cell, recipe) in wanted.items():
        if not folder.is_dir():
            _compute(folder, cell, recipe, cache, view)


def _compute(folder: Path, cell: Cell, recipe: Strategy, cache: Path, view: LiveView) -> None:
    title = f"features of {cell.store.name} under {recipe.name} ({_size(features_bytes(cell.store, recipe))})"
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


def _recipes(cell: Cell) -> list[Strategy]:
    """The cell's strategy under every adapter that it may get."""
    adapters = cell.space["adapter"].choice or [] if "adapter" in cell.space else []
    chosen = [{"adapter": kind} for kind in adapters] or [{}]
    return [cell.strategy.with_values({**cell.values, **adapter}) for adapter in chosen]


def _size(size: float) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
