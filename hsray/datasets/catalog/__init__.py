"""The benchmark's datasets: one TOML file each, with its split list as a csv beside it."""

from __future__ import annotations

import csv
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from hsray.datasets.classes import ClassInfo
from hsray.errors import RequestError

NAMES = ("hyko2", "hsidrive", "hcv2", "hcv2-iros2024")


@dataclass(frozen=True)
class CatalogEntry:
    """What the benchmark says of a dataset. `url` is where its owners give it; `remap` leads from raw label ids to
    class ids, and others stay as they are."""

    name: str
    title: str
    url: str
    format: str
    classes: tuple[ClassInfo, ...]
    ignore_id: int
    wavelengths_nm: tuple[float, ...]
    remap: dict[int, int]
    splits: dict[str, list[str]]
    folders: dict[str, str]


def find(name: str) -> CatalogEntry:
    """Return the catalogue's entry for a dataset's name or one of its other names, in any case.

    Raises:
        RequestError: the catalogue has no such dataset.
    """
    wanted = name.lower()
    for known in NAMES:
        if wanted == known or wanted in _toml(known)["aliases"]:
            return _entry(known)
    raise RequestError(
        f"The catalogue has no dataset {name!r}",
        do=f"use one of {', '.join(NAMES)}, or describe your own data in a TOML file",
    )


def other_names(name: str) -> tuple[str, ...]:
    """All names under which the images of a dataset of the catalogue are known; of all entries that split the same
    images in their own ways. Empty where the catalogue does not know the name."""
    wanted = name.lower()
    formats = {_toml(known)["format"] for known in NAMES if wanted == known or wanted in _toml(known)["aliases"]}
    same = [known for known in NAMES if _toml(known)["format"] in formats]
    return tuple(other for known in same for other in (known, *_toml(known)["aliases"]))


@cache
def _toml(name: str) -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath(f"{name}.toml").read_text(encoding="utf-8"))


@cache
def _entry(name: str) -> CatalogEntry:
    content = _toml(name)
    splits: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    with files(__package__).joinpath(f"{name}.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            splits[row["split"]].append(row["image"])
    return CatalogEntry(
        name=name,
        title=content["title"],
        url=content["url"],
        format=content["format"],
        classes=tuple(
            ClassInfo(int(number), label, (rgb[0], rgb[1], rgb[2]), scored=int(number) != content["ignore_id"])
            for number, (label, rgb) in content["classes"].items()
        ),
        ignore_id=content["ignore_id"],
        wavelengths_nm=tuple(float(nm) for nm in content["wavelengths_nm"]),
        remap=dict(content.get("remap", [])),
        splits={split: sorted(images) for split, images in splits.items()},
        folders=content.get("folders", {}),
    )
