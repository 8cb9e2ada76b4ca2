"""Finding a dataset by its name or path."""

from __future__ import annotations

import os
from importlib.metadata import entry_points
from pathlib import Path

from hsray.datasets import catalog, indian_pines, published
from hsray.datasets.store import METADATA, CubeStore
from hsray.errors import RequestError

ENTRY_POINTS = "hsray.datasets"


def default_data_root() -> Path:
    """Return the folder of prepared datasets: `HSRAY_DATA`, or `data` here."""
    return Path(os.environ.get("HSRAY_DATA", "data"))


def open_store(name_or_path: str, data_root: Path | None = None) -> CubeStore:
    """Open a dataset: a name under the data root, a folder's path, or a name that an entry point gives a folder for.

    An entry point of the group `hsray.datasets` is a callable without arguments that returns the folder.

    Raises:
        RequestError: there is no such dataset, or its folder does not hold one.
    """
    root = data_root if data_root is not None else default_data_root()
    if (root / name_or_path).is_dir():
        return _open_folder(root / name_or_path)
    if Path(name_or_path).is_dir():
        return _open_folder(Path(name_or_path))
    plugged = {point.name: point for point in entry_points(group=ENTRY_POINTS)}  # slow: looks at all packages
    if name_or_path in plugged:
        return _open_folder(Path(plugged[name_or_path].load()()))
    raise _not_there(name_or_path, root, sorted(plugged))


def _open_folder(folder: Path) -> CubeStore:
    folder = folder.resolve()
    if (folder / METADATA).is_file():
        return CubeStore(folder)
    if folder.suffix != ".partial" and any(folder.glob("*_train.h5")):
        return CubeStore(folder, published.index(folder))
    raise RequestError(
        "This folder does not hold a prepared dataset (neither dataset.json nor <name>_train.h5)",
        where=str(folder),
        do="prepare the raw data with `hsray prepare`, or name another folder",
    )


def _not_there(name: str, root: Path, plugged: list[str]) -> RequestError:
    folders = sorted(root.iterdir()) if root.is_dir() else []
    known = [f.name for f in folders if (f / METADATA).is_file() or (f.is_dir() and any(f.glob("*_train.h5")))]
    known = [one for one in known if not one.endswith(".partial")] + plugged
    do = f"use one of those that are there ({', '.join(known)})" if known else "prepare it with `hsray prepare`"
    if name in catalog.NAMES:
        do = f"`hsray prepare {name} RAW_FOLDER`; the raw files are at {catalog.find(name).url}"
    if name == indian_pines.NAME:
        do = f"`hsray prepare {name}`"
    if (root / f"{name}.partial").is_dir():
        do = "its preparation was interrupted: run the same `hsray prepare` command again and it goes on"
    return RequestError(f"There is no dataset {name!r}", where=f"data root {root.resolve()}", do=do)
