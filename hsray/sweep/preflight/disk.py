"""The room on disk that a sweep takes: features, checkpoints of runs under way, weights that are kept."""

from __future__ import annotations

import itertools
import shutil
from dataclasses import dataclass
from pathlib import Path

from hsray.errors import RequestError
from hsray.strategies.features import bytes_done, features_bytes, features_folder, is_cacheable, size_text
from hsray.strategies.strategy import Strategy
from hsray.sweep.cells import Cell


@dataclass(frozen=True)
class Room:
    """Bytes that will be taken in a folder, what for, and what is free there."""

    folder: Path
    what: str
    bytes: int
    free: int
    device: int


def room(folder: Path, what: str, size: int) -> Room:
    """Of a folder that need not exist yet."""
    there = existing(folder)
    return Room(folder, what, size, shutil.disk_usage(there).free, there.stat().st_dev)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(one for one in (folder, *folder.parents) if one.is_dir())


def room_problems(rooms: list[Room]) -> list[RequestError]:
    """One for every file system that has not got what will be taken of it."""
    found = []
    by_device: dict[int, list[Room]] = {}
    for one in rooms:
        by_device.setdefault(one.device, []).append(one)
    for parts in by_device.values():
        taken, free = sum(part.bytes for part in parts), parts[0].free
        if taken > free:
            listed = ", ".join(f"{part.what} {size_text(part.bytes)}" for part in parts if part.bytes)
            found.append(
                RequestError(
                    f"the sweep takes {size_text(taken)} of disk ({listed}), and {size_text(free)} are free",
                    where=", ".join(str(part.folder) for part in parts),
                    do="make room (`hsray features prune`, `hsray doctor`), keep less (`keep: finals`), "
                    "or smaller features (features.dtype float16, features.pca)",
                )
            )
    return found


def wanted_features(cells: list[Cell], cache: Path) -> dict[Path, tuple[Cell, Strategy]]:
    """The folders of all features that these cells will read, with what they are computed from."""
    return {
        features_folder(cell.store, recipe, cache): (cell, recipe)
        for cell in cells
        for recipe in _recipes(cell)
        if is_cacheable(recipe)
    }


def missing_bytes(wanted: dict[Path, tuple[Cell, Strategy]]) -> int:
    """What the features that are not there yet will take beyond what is begun."""
    missing = {folder: request for folder, request in wanted.items() if not folder.is_dir()}
    return sum(features_bytes(cell.store, recipe) - bytes_done(folder) for folder, (cell, recipe) in missing.items())


def _recipes(cell: Cell) -> list[Strategy]:
    """The cell's strategy under everything it may be given that decides which features it reads."""
    deciding = [name for name in cell.space if name == "adapter" or name.startswith(("features.", "encoder."))]
    choices = [[(name, value) for value in cell.space[name].choice or ()] for name in deciding]
    # What is not chosen from a list is computed by the first trial that needs it.
    combinations = itertools.product(*filter(None, choices))
    # As the trials get it: weights by their whole path, since the node that computes may know no such folder.
    return [cell.config(dict(chosen), seed=0).strategy for chosen in combinations]
