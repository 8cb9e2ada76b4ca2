"""Panels of a picture: what the strategies predict, beside the pseudo-RGB and the label map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

UNLABELLED = (58, 58, 58)
INK = "#222222"


@dataclass(frozen=True)
class Shown:
    """The picture file of one final: rgb (H, W, 3), labels and prediction (H, W), class_rgb (K, 3)."""

    strategy: str
    rgb: np.ndarray
    labels: np.ndarray
    prediction: np.ndarray
    class_rgb: np.ndarray
    class_names: list[str]
    ignore_id: int
    score: float


def grid(shown: list[Shown]) -> tuple[int, int, float]:
    """Columns, lines and the figure's height in inches for the panels and one place for the classes."""
    height, width = shown[0].labels.shape
    panels = len(shown) + 3
    columns = 2 if width > 1.8 * height else 3
    lines = -(-panels // columns)
    return columns, lines, float(np.clip(lines * (2.1 * height / width + 0.3) + 0.4, 3.9, 8.0))


def draw_predictions(part: FigureBase, shown: list[Shown], colours: dict[str, str], columns: int, lines: int) -> None:
    """Pseudo-RGB, labels, the prediction of every strategy in its colour, and what the colours of the classes mean."""
    first = shown[0]
    panels = [("pseudo-RGB", first.rgb, INK), ("labels", _coloured(first.labels, first), INK)]
    for one in shown:
        kept = np.where(one.labels == one.ignore_id, one.ignore_id, one.prediction)
        panels.append((f"{one.strategy}  {100 * one.score:.1f} %", _coloured(kept, one), colours[one.strategy]))
    places = part.subplots(lines, columns, squeeze=False).ravel()
    for axes in places:
        axes.set_axis_off()
    for axes, (title, image, colour) in zip(places, panels, strict=False):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(title, fontsize=9, color=colour, loc="left", pad=3)
    _draw_classes(places[len(panels)], first)


def _draw_classes(axes: Axes, shown: Shown) -> None:
    from matplotlib.patches import Patch

    present = [int(label) for label in np.unique(shown.labels) if label != shown.ignore_id]
    marks = [Patch(color=_hex(shown.class_rgb[label]), label=shown.class_names[label]) for label in present]
    marks.append(Patch(color=_hex(UNLABELLED), label="unlabelled"))
    axes.legend(
        handles=marks, loc="upper left", bbox_to_anchor=(0, 1), ncols=1 if len(marks) < 9 else 2, frameon=False,
        fontsize=7 if len(marks) < 9 else 6, handlelength=1, handleheight=1, columnspacing=0.8, borderaxespad=0,
    )  # fmt: skip


def _hex(rgb: Sequence[int] | np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(part) for part in rgb))


def _coloured(labels: np.ndarray, shown: Shown) -> np.ndarray:
    colours = np.vstack([shown.class_rgb, UNLABELLED]).astype(np.uint8)
    return colours[np.where(labels == shown.ignore_id, len(shown.class_rgb), labels)]
