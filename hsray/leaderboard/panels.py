"""Panels of a picture: what the strategies predict, beside the pseudo-RGB and the label map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from hsray.leaderboard.predictions import Maps

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import FigureBase

UNLABELLED = (58, 58, 58)
INK = "#222222"


def grid(shown: dict[str, Maps]) -> tuple[int, int, float]:
    """Columns, lines and the figure's height in inches for the panels and one place for the classes."""
    height, width = next(iter(shown.values())).labels_HW.shape
    panels = len(shown) + 3
    columns = 2 if width > 1.8 * height else 3
    lines = -(-panels // columns)
    return columns, lines, float(np.clip(lines * (2.1 * height / width + 0.3) + 0.4, 3.9, 8.0))


def draw_predictions(
    part: FigureBase, shown: dict[str, Maps], colours: dict[str, str], columns: int, lines: int
) -> None:
    """Pseudo-RGB, labels, the prediction of every strategy in its colour, and what the colours of the classes mean."""
    first = next(iter(shown.values()))
    panels = [("pseudo-RGB", first.rgb_HW3, INK), ("labels", first.painted(first.labels_HW, UNLABELLED), INK)]
    for strategy, one in shown.items():
        kept_HW = np.where(one.labels_HW == one.ignore_id, one.ignore_id, one.prediction_HW)
        panels.append((f"{strategy}  {100 * one.score:.1f} %", one.painted(kept_HW, UNLABELLED), colours[strategy]))
    places = part.subplots(lines, columns, squeeze=False).ravel()
    for axes in places:
        axes.set_axis_off()
    for axes, (title, image, colour) in zip(places, panels, strict=False):
        axes.imshow(image, interpolation="nearest")
        axes.set_title(title, fontsize=9, color=colour, loc="left", pad=3)
    _draw_classes(places[len(panels)], first)


def _draw_classes(axes: Axes, maps: Maps) -> None:
    from matplotlib.patches import Patch

    present = [int(label) for label in np.unique(maps.labels_HW) if label != maps.ignore_id]
    marks = [Patch(color=_hex(maps.class_rgb_K3[label]), label=maps.class_names[label]) for label in present]
    marks.append(Patch(color=_hex(UNLABELLED), label="unlabelled"))
    axes.legend(
        handles=marks, loc="upper left", bbox_to_anchor=(0, 1), ncols=1 if len(marks) < 9 else 2, frameon=False,
        fontsize=7 if len(marks) < 9 else 6, handlelength=1, handleheight=1, columnspacing=0.8, borderaxespad=0,
    )  # fmt: skip


def _hex(rgb: Sequence[int] | np.ndarray) -> str:
    return "#{:02x}{:02x}{:02x}".format(*(int(part) for part in rgb))
