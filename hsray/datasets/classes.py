"""What a dataset's label ids mean."""

from __future__ import annotations

import colorsys
from dataclasses import dataclass

import numpy as np

from hsray.errors import RequestError

RGB = tuple[int, int, int]
UNDEFINED = "undefined"


@dataclass(frozen=True)
class ClassInfo:
    """A class of a prepared dataset. Ids run from 0 to K-1; the undefined class is one of them and is not scored."""

    id: int
    name: str
    rgb: RGB
    scored: bool


def palette(count: int) -> list[RGB]:
    """Return `count` colours that are easy to tell apart: hues a golden ratio apart, in three levels of brightness."""
    colours = []
    for index in range(count):
        hue = (0.33 + index * 0.618033988749895) % 1.0
        value, saturation = ((0.95, 0.70), (0.70, 0.90), (0.85, 0.45))[index % 3]
        red, green, blue = colorsys.hsv_to_rgb(hue, saturation, value)
        colours.append((round(red * 255), round(green * 255), round(blue * 255)))
    return colours


Named = dict[int, tuple[str, RGB | None]]


@dataclass(frozen=True)
class Legend:
    """Classes by id, and the way from raw labels to them."""

    classes: tuple[ClassInfo, ...]
    ignore_id: int
    mapping: dict[int, int]
    left_out: tuple[dict[str, str], ...] = ()


def legend(named: Named, ignore: list[int], lacking: dict[int, str]) -> Legend:
    """Number the classes of a person's dataset from 0 in the order of their raw ids, the undefined class last.

    `lacking` holds the raw ids of classes to leave out, with the reason; their pixels become undefined.
    """
    colours = palette(len(named))
    kept = [raw for raw in sorted(named) if raw not in lacking]
    names = {raw: (named[raw][0], named[raw][1] or colours[index]) for index, raw in enumerate(sorted(named))}
    classes = [ClassInfo(number, *names[raw], scored=True) for number, raw in enumerate(kept)]
    undefined = len(classes)
    classes.append(ClassInfo(undefined, UNDEFINED, (0, 0, 0), scored=False))
    mapping = {raw: number for number, raw in enumerate(kept)} | dict.fromkeys([*lacking, *ignore], undefined)
    left_out = tuple({"name": names[raw][0], "reason": reason} for raw, reason in sorted(lacking.items()))
    return Legend(tuple(classes), undefined, mapping, left_out)


def to_ids(labels: np.ndarray, mapping: dict[int, int], where: str) -> np.ndarray:
    """Turn raw labels into class ids.

    Raises:
        RequestError: a raw label stands for no class; all such labels are named.
    """
    raw, inverse = np.unique(np.asarray(labels), return_inverse=True)
    wrong = [label for label in raw.tolist() if label not in mapping]
    if wrong:
        shown = ", ".join(f"{label:g}" for label in wrong[:10]) + (" …" if len(wrong) > 10 else "")
        raise RequestError(
            f"The labels hold ids that are no class: {shown} (known: {', '.join(map(str, sorted(mapping)))})",
            where=where,
            do="name the id under [classes] or `ignore` if it is your own dataset, or mend the labels",
        )
    ids = np.array([mapping[int(label)] for label in raw], dtype=np.int64)
    return ids[inverse].reshape(np.shape(labels))
