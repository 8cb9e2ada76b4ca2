"""What is not as it should be in a data folder: half-written datasets, and features that nothing will read again."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

from hsray.datasets.check import image_problems
from hsray.datasets.store import METADATA, CubeStore, Metadata
from hsray.datasets.writer import PLAN
from hsray.errors import RequestError
from hsray.strategies.feature_cache import Kept, delete_features, kept_features
from hsray.strategies.references import BY_ENCODER, HUB
from hsray.sweep.upkeep.findings import Finding, tree_bytes

PARTIAL, OLD = ".partial", ".old"


def store_findings(data_root: Path) -> Iterator[Finding]:
    """Datasets whose preparation was killed, before or while they took their place."""
    folders = sorted(data_root.iterdir()) if data_root.is_dir() else []
    for path in (folder for folder in folders if folder.is_dir()):
        target = path.with_name(path.name.removesuffix(PARTIAL).removesuffix(OLD))
        if path.suffix == PARTIAL and not _is_written(path):
            yield _half_written(path, target)
        elif path.suffix == OLD and (path / METADATA).is_file():
            if not target.exists() and not _is_whole(path.with_name(target.name + PARTIAL)):
                what = "its replacement was killed between two steps: this is the dataset, put aside"
                yield Finding(
                    "dataset put aside", path.name, what, tree_bytes(path), mend=partial(os.replace, path, target)
                )
            else:
                what = "was replaced; the preparation was killed before it had deleted this one"
                yield Finding("replaced dataset", path.name, what, tree_bytes(path), told=partial(shutil.rmtree, path))
        elif path.suffix != PARTIAL and (path / METADATA).is_file() and (fault := _fault(path)):
            yield Finding("unreadable dataset", path.name, fault)


def _half_written(path: Path, target: Path) -> Finding:
    size = tree_bytes(path)
    if _is_whole(path) and not target.exists():
        what = "all is written; the preparation was killed before it gave the dataset its name"
        mend = partial(_unless_written, path, os.replace, target)
        return Finding("unnamed dataset", path.name, what, size, mend=mend)
    done, total = _progress(path)
    what = f"{done} of {total} images: the same `hsray prepare` command goes on"
    told = partial(_unless_written, path, shutil.rmtree)
    return Finding("half-written dataset", path.name, what, size, told=told)


def feature_findings(data_root: Path, *, running: bool) -> Iterator[Finding]:
    """Features that are half-written, cannot be read, or whose data or weights are not found from here.

    An experiment may name data and weights by paths that only its sweep knows: while any is `running`, the latter are
    not deleted.
    """
    cache = data_root / ".features"
    kept = kept_features(cache)
    names, prints = _datasets(data_root) if kept else (set(), set())
    for one in kept:
        told = partial(delete_features, cache, [one])
        if one.state == "half-written":
            what = f"{one.note}: the next run that needs them goes on"
        elif one.state == "unreadable":
            what = "cannot be read"
        elif one.state == "whole" and (gone := _gone(one, cache, names, prints)):
            if running:
                what = f"{gone}; a sweep that runs now may read them"
                yield Finding("dangling features", one.folder, what, one.bytes, itself=True, stays=True)
                continue
            what = f"{gone}: only runs that name it by a path from elsewhere read them"
        else:
            continue
        yield Finding("dangling features", one.folder, what, one.bytes, told=told)
    for path in cache.glob(".*.gone"):
        what = "were to be deleted, which was interrupted"
        yield Finding("dangling features", path.name, what, tree_bytes(path), mend=partial(shutil.rmtree, path))


def _gone(one: Kept, cache: Path, names: set[str], prints: set[str]) -> str:
    """What of that which the features were computed from is not found from here; empty where all is."""
    from hsray.strategies.weights import weights_sha256  # imports torch

    source: dict[str, Any] = Metadata.read(cache / one.folder).source
    if source.get("data") not in prints and one.dataset not in names:
        return f"the dataset '{one.dataset}' that they are of is not under this data folder"
    weights = source.get("weights", {})
    reference = str(weights.get("reference", ""))
    if reference in BY_ENCODER or reference.startswith(HUB) or not reference:
        return ""
    try:
        same = weights_sha256(reference) == weights.get("sha256")
    except RequestError:
        return f"the file of weights {reference} is not found from this folder"
    return "" if same else f"the file of weights {reference} is another one here"


def _datasets(data_root: Path) -> tuple[set[str], set[str]]:
    """Names of published files, which are not opened for it, and fingerprints of prepared datasets."""
    names, prints = set(), set()
    for folder in data_root.iterdir():
        if (folder / METADATA).is_file():
            try:
                prints.add(Metadata.read(folder).fingerprint)
            except RequestError:  # a finding of its own; its features may still be read
                names.add(folder.name)
        elif folder.is_dir():
            names |= {path.name.removesuffix("_train.h5") for path in folder.glob("*_train.h5")}
    return names, prints


def _fault(folder: Path) -> str:
    """Why a dataset's index cannot be read; empty where it can."""
    try:
        Metadata.read(folder)
    except RequestError as error:
        return f"{error.what}: {error.do}" if error.do else error.what
    return ""


def _is_whole(partial_folder: Path) -> bool:
    """Is a partial store complete but for its name?"""
    if not (partial_folder / METADATA).is_file():
        return False
    try:
        return not image_problems([CubeStore(partial_folder)])
    except RequestError:
        return False


def _unless_written(folder: Path, action: Callable[..., Any], *more: Path) -> None:
    """Somebody may have taken the preparation up since it was found, while the doctor waited for an answer."""
    if not folder.is_dir() or _is_written(folder):
        raise RequestError(f"'{folder.name}' is being written now", where=str(folder), do="look again when it is done")
    action(folder, *more)


def _is_written(folder: Path) -> bool:
    """Does a process hold the lock of a partial store?"""
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(handle)
    return False


def _progress(folder: Path) -> tuple[int, str]:
    """Images that are in, and in all."""
    done = sum(journal.read_bytes().count(b"\n") for journal in folder.glob("*.journal"))
    try:
        plan = json.loads((folder / PLAN).read_text("utf-8"))
        return done, str(sum(map(len, plan["splits"].values())))
    except (OSError, ValueError, KeyError):
        return done, "?"
