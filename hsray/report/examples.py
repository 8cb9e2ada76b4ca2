"""Example predictions beside labels and pseudo-RGB, as pictures that stand in the page itself."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass

import numpy as np
import polars as pl

from hsray.errors import HsrayError
from hsray.leaderboard.chosen import CELL
from hsray.leaderboard.predictions import PREDICTIONS, Maps, read_maps
from hsray.report.classes import largest_fractions
from hsray.report.files import Files

UNLABELLED = (128, 128, 128)
SIDE = 640  # pixels of the longer side, at most


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
        Panel(
            "labels", _png(first.painted(first.labels_HW, UNLABELLED)), f"{dataset}: the labels of that image: {named}"
        ),
    ]
    labelled_HW = first.labels_HW != first.ignore_id
    for variant, one in maps.items():
        kept_HW = np.where(labelled_HW, one.prediction_HW, one.ignore_id)
        right = float((one.prediction_HW == one.labels_HW)[labelled_HW].mean()) if labelled_HW.any() else float("nan")
        alt = f"{dataset}: what {variant} predicts for that image; {right:.0%} of its labelled pixels are right"
        panels.append(Panel(variant, _png(one.painted(kept_HW, UNLABELLED)), alt, 100 * one.score))
    classes = [(first.class_names[label], _hex(first.class_rgb_K3[label])) for label in present]
    if not labelled_HW.all():
        classes.append(("unlabelled", _hex(np.array(UNLABELLED))))
    height, width = first.labels_HW.shape
    return Example(dataset, fraction, panels, classes, (height, width), without)


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
