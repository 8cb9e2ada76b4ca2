"""What lies in the feature cache, and taking it away: whole features, half-written ones, and their locks."""

from __future__ import annotations

import csv
import io
import json
import shutil
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from hsray.datasets.store import Metadata
from hsray.datasets.writer import PLAN
from hsray.errors import RequestError
from hsray.strategies.features import images_done

GONE = ".gone"
State = Literal["whole", "half-written", "being written", "unreadable"]


@dataclass(frozen=True)
class Kept:
    """The features of one dataset under one encoder. Times are UTC; `note` says how far half-written ones are."""

    folder: str
    dataset: str
    encoder: str
    weights: str
    dtype: str
    channels: int
    bytes: int
    last_use: datetime
    state: State
    note: str = ""


def kept_features(cache: Path) -> list[Kept]:
    """All that the cache holds, by name. A cache that is not there holds nothing."""
    folders = [path for path in cache.iterdir() if path.is_dir()] if cache.is_dir() else []
    names = {path.name.removesuffix(".partial") for path in folders if not path.name.startswith(".")}
    return [_describe(cache / name) for name in sorted(names)]


def chosen_features(cache: Path, names: list[str], unused_days: float | None, everything: bool) -> list[Kept]:
    """Those named, or not used for so many days, or all. Features that are being written are never among the latter.

    Raises:
        RequestError: none or several of the three ways to choose; a name that is not there, or is being written.
    """
    if sum((bool(names), unused_days is not None, everything)) != 1:
        raise RequestError("what shall be deleted?", do="give folders' names, or --unused-for DAYS, or --all")
    found = {one.folder: one for one in kept_features(cache)}
    for name in names:
        if name not in found:
            do = f"there are: {', '.join(found)}" if found else "the cache is empty"
            raise RequestError(f"there are no features '{name}'", where=str(cache), do=do)
        if found[name].state == "being written":
            raise RequestError(f"'{name}' is being written now", where=str(cache), do="wait for it, or end that run")
    if names:
        return [found[name] for name in dict.fromkeys(names)]
    idle = [one for one in found.values() if one.state != "being written"]
    now = datetime.now(UTC)
    return [one for one in idle if unused_days is None or (now - one.last_use).total_seconds() > unused_days * 86_400]


def delete_features(cache: Path, chosen: list[Kept]) -> None:
    """Delete them, with what an interrupted run left of them. Raises RequestError where one is being written by now."""
    _sweep_up(cache)  # an interrupted call's, whose names are needed now
    for one in chosen:
        folder = cache / one.folder
        lock = FileLock(_lock(folder))
        try:
            with lock.acquire(timeout=0):
                for path in (folder, _partial(folder)):
                    if path.is_dir():
                        # Renamed first, so that nobody finds half of it under its name.
                        path.replace(path.with_name(f".{path.name}{GONE}"))
                _lock(folder).unlink()
        except Timeout:
            raise RequestError(f"'{one.folder}' is being written now", where=str(cache), do="wait for it") from None
    _sweep_up(cache)


def _sweep_up(cache: Path) -> None:
    for gone in cache.glob(f".*{GONE}"):
        shutil.rmtree(gone)


def as_text(found: list[Kept], format: str) -> str:
    """Kept features as json, csv or markdown; sizes in bytes, times in ISO 8601."""
    rows = [{**asdict(one), "last_use": one.last_use.isoformat(timespec="seconds")} for one in found]
    if format == "json":
        return json.dumps(rows, indent=2)
    names = [field.name for field in fields(Kept)]
    if format == "csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        return text.getvalue().rstrip("\n")
    lines = [names, ["---"] * len(names), *([str(row[name]) for name in names] for row in rows)]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _describe(folder: Path) -> Kept:
    whole = folder.is_dir()
    path = folder if whole else _partial(folder)
    files = [file.stat() for file in path.iterdir()]
    source, channels = _source(path, whole)
    state: State = "whole" if whole else "being written" if _is_locked(folder) else "half-written"
    if not source and state != "being written":
        state = "unreadable"
    last_use = max((file.st_mtime for file in files), default=path.stat().st_mtime)  # opening them touches a file
    return Kept(
        folder=folder.name,
        dataset=source.get("features_of", "?"),
        encoder=source.get("encoder", "?"),
        weights=source.get("weights", {}).get("reference", "?"),
        dtype=source.get("dtype", "float16"),
        channels=channels,
        bytes=sum(file.st_size for file in files),
        last_use=datetime.fromtimestamp(last_use, UTC),
        state=state,
        note="" if whole else f"{images_done(folder)} images",
    )


def _source(path: Path, whole: bool) -> tuple[dict[str, Any], int]:
    """What is noted of features, and the number of their channels; nothing where it cannot be read."""
    try:
        if whole:
            metadata = Metadata.read(path)
            return metadata.source, len(metadata.wavelengths_nm)
        plan = json.loads((path / PLAN).read_text("utf-8"))
        return plan["source"], len(plan["wavelengths_nm"])
    except (RequestError, OSError, ValueError, KeyError):
        return {}, 0


def _is_locked(folder: Path) -> bool:
    if not _lock(folder).exists():
        return False
    try:
        with FileLock(_lock(folder)).acquire(timeout=0):
            return False
    except Timeout:
        return True


def _lock(folder: Path) -> Path:
    return folder.with_name(folder.name + ".lock")


def _partial(folder: Path) -> Path:
    return folder.with_name(folder.name + ".partial")
