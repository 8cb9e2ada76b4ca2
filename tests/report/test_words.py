"""Words of runs in tables and charts stay words; pictures of predictions are read with care."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from hsray.errors import HsrayError
from hsray.leaderboard.charts import confusion_chart, curve_chart
from hsray.leaderboard.predictions import read_maps
from hsray.leaderboard.sheet import Column, Sheet
from hsray.report.drawing import figure
from hsray.report.examples import _example
from hsray.report.tables import sheet_html
from tests.tracking.folders import write_predictions

HOSTILE = "<img src=x onerror=alert(1)> & \"two\" 'one' \\1 \\g<0> {0} $x"


def test_tables_escape() -> None:
    frame = pl.DataFrame({HOSTILE: [HOSTILE, "x" * 80], "score": [1.0, None], "mark": ["<b>", ""]})
    columns = (Column(HOSTILE, HOSTILE, align="left", mark="mark"), Column("score", "score", 2, unit="%", best="high"))
    html = sheet_html(Sheet(HOSTILE, frame, columns, (HOSTILE,)))
    assert "<img" not in html and "<b>" not in html
    assert html.count("&lt;img src=x onerror=alert(1)&gt;") == 5  # title, label, heading, cell, note
    assert "1.00" in html and "–" in html and "<style" not in html


def test_charts_escape_and_take_the_pages_colours() -> None:
    rows = pl.DataFrame(
        {
            "strategy": [HOSTILE] * 2, "fraction": ["10 %", "100 %"], "fraction_percent": [10.0, 100.0],
            "official": [False] * 2, "jaccard_macro": [1.0, 2.0], "jaccard_macro_low": [None, 1.5],
            "jaccard_macro_high": [None, 2.5],
        }
    )  # fmt: skip
    html = figure(curve_chart(rows), HOSTILE, HOSTILE)
    assert "<img" not in html and "onerror=alert(1)&gt;" in html
    assert "var(--mark-0)" in html and "var(--ink)" in html and "#0072B2" not in html and "#000" not in html
    assert "url(" not in html and "xlink:href" not in html


def test_a_confusion_matrix_with_empty_classes() -> None:
    confusion_KK = np.array([[0, 0, 0], [0, 0, 0], [1, 2, 3]])
    html = figure(confusion_chart(confusion_KK, ["undefined", "a", "a"]), "alt", "caption")
    assert html.count("<text") >= 3 and "NaN" not in html
    figure(confusion_chart(np.zeros((2, 2), int), ["a", "b"]), "alt", "caption")


def test_pictures(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    write_predictions(path, np.random.default_rng(0), 0.8, 0.5)
    maps = read_maps(path)
    shown = _example("d", "100 %", {HOSTILE: maps}, [])
    assert [panel.title for panel in shown.panels] == ["pseudo-RGB", "labels", HOSTILE]
    labels = Image.open(io.BytesIO(base64.b64decode(shown.panels[1].uri.partition(",")[2]))).convert("RGB")
    expected = np.where((maps.labels_HW == 0)[..., None], 128, maps.class_rgb_K3[maps.labels_HW])
    assert (np.asarray(labels) == expected).all()


@pytest.mark.parametrize("fault", ["cut", "shape", "class", "pickle", "text"])
def test_a_damaged_picture_is_refused(tmp_path: Path, fault: str) -> None:
    path = tmp_path / "predictions.npz"
    write_predictions(path, np.random.default_rng(0), 0.8, 0.5)
    content = dict(np.load(path))
    if fault == "cut":
        path.write_bytes(path.read_bytes()[:-200])
    elif fault == "text":
        path.write_text("no archive")
    else:
        name, value = {
            "shape": ("prediction_HW", content["prediction_HW"][1:]),
            "class": ("labels_HW", content["labels_HW"] + 7),
            "pickle": ("rgb_HW3", np.array([{}], dtype=object)),
        }[fault]
        np.savez(path, **(content | {name: value}))
    with pytest.raises(HsrayError):
        read_maps(path)
