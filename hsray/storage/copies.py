"""Reading copies, for commands that only look."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from pathlib import Path

from hsray.errors import RequestError
from hsray.runlog import write_json
from hsray.storage.address import is_remote
from hsray.storage.claim import living
from hsray.storage.mirror import fetch
from hsray.storage.reconcile import SMALL
from hsray.storage.store import Store


def local_runs(runs: str | Path, name: str) -> Path:
    """A folder with the small files of the sweep `name` (specifications, logs, results): for reading alone.

    A folder is given back as it is; of a store, a copy that goes when the process ends. In it stands `driver.json`, who
    runs the sweep, where somebody does.

    Raises:
        RequestError: the store does not answer.
    """
    if not is_remote(runs):
        return Path(runs)
    store, root = _reading(str(runs)), _temporary()
    there = store.list(name)
    names = [n for n in there if n.rpartition("/")[2] in SMALL or ("/" not in n and n.endswith((".json", ".yaml")))]
    fetch(store, {f"{name}/{n}": root / name / n for n in names})
    for n in (n for n in names if (root / name / n).exists()):  # a copy is as old as what it is of
        os.utime(root / name / n, (there[n].written, there[n].written))
    if (found := living(store.below(name))) is not None:
        driver, since = found
        (root / name).mkdir(exist_ok=True)
        write_json(root / name / "driver.json", driver)
        os.utime(root / name / "driver.json", (since, since))
    return root


def local_checkpoint(checkpoint: str | Path) -> Path:
    """A run's folder, or a file of it, here: what is in a store is fetched with its weights and its specification.

    Raises:
        RequestError: there is nothing of that name in the store.
    """
    if not is_remote(checkpoint):
        return Path(checkpoint)
    folder, _, last = str(checkpoint).rstrip("/").rpartition("/")
    store, here = _reading(folder), _temporary()
    names = {f"{last}/{name}": here / last / name for name in ("spec.json", "config.json", "best.safetensors")}
    if "." in last and last.endswith((".safetensors", ".ckpt", ".pt", ".pth")):
        names = {name: here / name for name in (last, "spec.json", "config.json")}
    fetch(store, names)
    if not any(path.exists() for path in names.values()):
        raise RequestError("the store has no such run", where=str(checkpoint), do="give a run's folder, or its weights")
    return here / last


def _reading(uri: str) -> Store:
    return Store(uri, patience=5.0)


def _temporary() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="hsray-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder
