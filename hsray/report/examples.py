"""Example predictions beside labels and pseudo-RGB, as pictures that stand in the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import numpy as np
import polars as pl

from hsray.errors import HsrayError
from hsray.leaderboard.chosen import CELL
from hsray.leaderboard.npz import UnreadableError, read_arrays
from hsray.report.classes import largest_fractions
from hsray.report.files import Files

PREDICTIONS = "predictions.npz"
UNLABELLED = (128, 128, 128)
SIDE = 640  # pixels of the longer side, at most
MOST_PIXELS = 2**26
_ARRAYS = ("rgb_HW3", "labels_HW", "prediction_HW", "class_rgb_K3", "class_names_K", "ignore_id", "score")


@dataclass(frozen=True)
class Panel:
    """One picture as a data URI, with its title; `score` is the final's mean Jaccard in percent, None for labels."""

    title: str
    uri: str
    alt: str
    score: float | None = None


@dataclass(frozen=True)
class Example:
    """The pictures of one dataset, `pixels` (height, width), and the classes in them with their colours."""

    dataset: str
    fraction: str
    panels: list[Panel]
    classes: list[tuple[str, str]]
    pixels: tuple[int, int]
    without: list[str]


@dataclass(frozen=True)
class Maps:
    """A `predictions.npz`: rgb (H, W, 3), labels and prediction (H, W), class_rgb (K, 3), score a fraction of one."""

    rgb_HW3: np.ndarray
    labels_HW: np.ndarray
    prediction_HW: np.ndarray
    class_rgb_K3: np.ndarray
    class_names: tuple[str, ...]
    ignore_id: int
    score: float


def examples(cells: pl.DataFrame, finals: pl.DataFrame, files: Files) -> list[Example]:
    """Of every dataset at its largest fraction one final of each strategy: that of the lowest seed with a picture."""
    found = []
    for group in largest_fractions(cells):
        maps: dict[str, Maps] = {}
        without = []
        for cell in group.iter_rows(named=True):
            same = [pl.col(name) == cell[name] for name in CELL]
            ordered = finals.filter(*same).sort("seed")["run_id"]
            one = next((one for run_id in ordered if (one := _maps(run_id, files)) is not None), None)
            first = next(iter(maps.values()), one)
            if one is None or first is None or one.labels_HW.shape != first.labels_HW.shape:
                without.append(cell["variant"])
            else:
                maps[cell["variant"]] = one
        if maps:
            found.append(_example(group["dataset"][0], group["fraction"][0], maps, without))
    return found


def read_maps(path: Path) -> Maps:
    """Read a `predictions.npz`; nothing in it is executed.

    Raises:
        HsrayError: the file cannot be read or is no such file.
    """
    try:
        parts = read_arrays(path, _ARRAYS, 24 * MOST_PIXELS)
        maps = Maps(
            parts["rgb_HW3"], parts["labels_HW"], parts["prediction_HW"], parts["class_rgb_K3"],
            tuple(str(name) for name in parts["class_names_K"]), int(parts["ignore_id"]), float(parts["score"]),
        )  # fmt: skip
    except (UnreadableError, TypeError, ValueError) as error:  # of the last two: a number that is none
        _refuse(path, str(error))
    classes, shape = len(maps.class_names), maps.labels_HW.shape
    fits = maps.labels_HW.ndim == 2 and maps.prediction_HW.shape == shape and maps.rgb_HW3.shape == (*shape, 3)
    if not fits or not maps.labels_HW.size or maps.class_rgb_K3.shape != (classes, 3):
        _refuse(path, "its maps have different shapes")
    kinds = {maps.labels_HW.dtype.kind, maps.prediction_HW.dtype.kind}
    if not kinds <= {"i", "u"} or maps.rgb_HW3.dtype != np.uint8:
        _refuse(path, "its maps are no whole numbers")
    for labels in (maps.labels_HW, maps.prediction_HW):
        known = labels[labels != maps.ignore_id]
        if known.size and not 0 <= known.min() <= known.max() < classes:
            _refuse(path, "it holds classes that it does not name")
    return maps


def _maps(run_id: str, files: Files) -> Maps | None:
    path = files.path(run_id, PREDICTIONS)
    if path is None:
        return None
    try:
        return read_maps(path)
    except HsrayError as error:
        files.note(error.what)
        return None


def _example(dataset: str, fraction: str, maps: dict[str, Maps], without: list[str]) -> Example:
    first = next(iter(maps.values()))
    present = [int(label) for label in np.unique(first.labels_HW) if label != first.ignore_id]
    named = ", ".join(first.class_names[label] for label in present)
    panels = [
        Panel("pseudo-RGB", _png(first.rgb_HW3), f"{dataset}: pseudo-RGB of a test image"),
        Panel("labels", _png(_coloured(first.labels_HW, first)), f"{dataset}: the labels of that image: {named}"),
    ]
    labelled_HW = first.labels_HW != first.ignore_id
    for variant, one in maps.items():
        kept_HW = np.where(labelled_HW, one.prediction_HW, one.ignore_id)
        right = float((one.prediction_HW == one.labels_HW)[labelled_HW].mean()) if labelled_HW.any() else float("nan")
        alt = f"{dataset}: what {variant} predicts for that image; {right:.0%} of its labelled pixels are right"
        panels.append(Panel(variant, _png(_coloured(kept_HW, one)), alt, 100 * one.score))
    classes = [(first.class_names[label], _hex(first.class_rgb_K3[label])) for label in present]
    if not labelled_HW.all():
        classes.append(("unlabelled", _hex(np.array(UNLABELLED))))
    height, width = first.labels_HW.shape
    return Example(dataset, fraction, panels, classes, (height, width), without)


def _coloured(labels_HW: np.ndarray, maps: Maps) -> np.ndarray:
    colours = np.vstack([maps.class_rgb_K3, UNLABELLED]).astype(np.uint8)
    return colours[np.where(labels_HW == maps.ignore_id, len(maps.class_rgb_K3), labels_HW)]


def _png(image_HW3: np.ndarray) -> str:
    from PIL import Image

    step = -(-max(image_HW3.shape[:2]) // SIDE)  # whole pixels are left out: a mixed colour is no class
    image = Image.fromarray(np.ascontiguousarray(image_HW3[::step, ::step]))
    if len(image.getcolors(256) or ()):
        image = image.convert("P", palette=Image.Palette.ADAPTIVE)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def _hex(rgb: np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(part) for part in rgb))


def _refuse(path: Path, reason: str) -> NoReturn:
    raise HsrayError(f"a picture of predictions cannot be read: {reason}", where=str(path)) from None
