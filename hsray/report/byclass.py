"""The sections about classes: Jaccard by class, confusion matrices, example predictions."""

from __future__ import annotations

from html import escape

import numpy as np

from hsray.leaderboard.confusionchart import confusion_chart
from hsray.report.classes import ClassScores
from hsray.report.content import Content
from hsray.report.drawing import figure
from hsray.report.examples import Example
from hsray.report.pieces import empty, row
from hsray.report.tables import notes_html, table_html

MOST_MATRICES = 6  # confusion matrices drawn of one dataset


def classes(content: Content) -> str:
    """Jaccard by class, a column a strategy, the best of each class in bold."""
    if not content.classes:
        return empty("no final left confusion matrices")
    return "\n".join(_class_table(one) for one in content.classes)


def confusions(content: Content) -> str:
    """Confusion matrices, each row in percent of the class's pixels, summed over images and seeds."""
    if not content.classes:
        return empty("no final left confusion matrices")
    parts = []
    for one in content.classes:
        drawn = []
        for variant, matrix_KK in list(one.confusions.items())[:MOST_MATRICES]:
            right = np.trace(matrix_KK) / max(1, matrix_KK.sum())
            alt = f"Confusion matrix of {variant} on {one.dataset}: {right:.0%} of the pixels lie on the diagonal."
            drawn.append(figure(confusion_chart(matrix_KK, one.class_names), alt, variant, above=True))
        left_out = list(one.confusions)[MOST_MATRICES:]
        notes = [f"not drawn, to keep this page small: {', '.join(left_out)}"] if left_out else []
        parts += [
            f"<h3>{escape(one.dataset)}, {escape(one.fraction)} of the training images</h3>",
            row(drawn, "matrices"),
        ]
        parts.append(notes_html(["rows: true class, in percent of its pixels; all test images and seeds", *notes]))
    return "\n".join(parts)


def examples(content: Content) -> str:
    """Pseudo-RGB, labels and predictions beside each other, with the classes' colours."""
    if not content.examples:
        spectral = set(content.runs["task"].drop_nulls()) == {"spectral"}
        return empty("spectra have no picture" if spectral else "no final left a picture of its predictions")
    return "\n".join(_example(one) for one in content.examples)


def _class_table(one: ClassScores) -> str:
    kept = [
        k for k in range(len(one.class_names)) if any(not np.isnan(jaccard[k]) for jaccard in one.jaccard_K.values())
    ]
    columns = [[escape(one.class_names[k]) for k in kept]]
    best = {
        k: max(round(jaccard[k], 1) for jaccard in one.jaccard_K.values() if not np.isnan(jaccard[k])) for k in kept
    }
    for jaccard_K in one.jaccard_K.values():
        texts = {k: "–" if np.isnan(jaccard_K[k]) else f"{jaccard_K[k]:.1f}" for k in kept}
        marked = {k for k in kept if round(jaccard_K[k], 1) == best[k] and len(one.jaccard_K) > 1}
        columns.append([f"<strong>{texts[k]}</strong>" if k in marked else texts[k] for k in kept])
    name = f"{one.dataset}, {one.fraction} of the training images: Jaccard by class (%)"
    table = table_html(["class", *map(escape, one.jaccard_K)], columns, ["left", *["right"] * len(one.jaccard_K)], name)
    notes = ["means over seeds; in bold the highest of its class, which no interval is behind"]
    if one.without:
        notes.append(f"no confusion matrices: {', '.join(one.without)}")
    return f"<h3>{escape(name)}</h3>{table}{notes_html(notes)}"


def _example(one: Example) -> str:
    panels = []
    for panel in one.panels:
        said = "" if panel.score is None else f" <span>{panel.score:.1f} %</span>"
        image = f'<img src="{panel.uri}" alt="{escape(panel.alt)}" width="{one.pixels[1]}" height="{one.pixels[0]}">'
        panels.append(f"<figure>{image}<figcaption>{escape(panel.title)}{said}</figcaption></figure>")
    keys = "".join(
        f'<li><span class="swatch" style="background:{colour}"></span>{escape(name)}</li>'
        for name, colour in one.classes
    )
    notes = ["of every strategy the final of the lowest seed; behind its name its mean Jaccard on the whole test set"]
    if one.without:
        notes.append(f"no picture: {', '.join(one.without)}")
    wide = " broad" if one.pixels[1] > 1.8 * one.pixels[0] else ""
    return (
        f"<h3>{escape(one.dataset)}, {escape(one.fraction)} of the training images</h3>"
        f'<div class="pictures{wide}">{"".join(panels)}</div><ul class="key">{keys}</ul>{notes_html(notes)}'
    )
