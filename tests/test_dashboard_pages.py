"""What the dashboard's pages compute, without a server."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hsray.errors import HsrayError
from tests.tracking.folders import FakeRun, write_predictions

pytest.importorskip("streamlit")
from hsray.dashboards.pictures import read_predictions, standing
from hsray.dashboards.sweeps import MOST_CURVES, MOST_POINTS, find_sweeps, learning_curves


def test_curves_are_the_running_ones_the_best_and_some_others(tmp_path: Path) -> None:
    trials = MOST_CURVES + 5
    for number in range(trials):
        run = FakeRun(tmp_path, "trial", number).start().epochs(0, 3)
        if number != 7:
            run.end(**{"val/jaccard_macro": 0.9 if number == 30 else 0.1})
    with (run.folder.parent / "trial-0007" / "epochs.jsonl").open("a") as log:
        log.write('{"epoch": 3, "met')  # torn
    found = learning_curves(run.folder.parent, "val/jaccard_macro", {"trial-0007"})
    assert found.left_out == 5
    kinds = dict(found.frame.select("trial", "is").unique().iter_rows())
    assert len(kinds) == MOST_CURVES
    assert [name for name, kind in kinds.items() if kind == "best"] == ["trial-0030"]
    assert [name for name, kind in kinds.items() if kind == "running"] == ["trial-0007"]
    assert found.frame.filter(pl.col("trial") == "trial-0007")["epoch"].to_list() == [1, 2, 3]
    assert len(learning_curves(run.folder.parent, "no/such", set()).frame) == 0


def test_a_long_curve_is_thinned_and_keeps_its_end(tmp_path: Path) -> None:
    run = FakeRun(tmp_path, "trial", 0).start().epochs(0, 1000)
    epochs = learning_curves(run.folder.parent, "val/loss", set()).frame["epoch"].to_list()
    assert len(epochs) <= MOST_POINTS + 1
    assert (epochs[0], epochs[-1]) == (1, 1000)


def test_sweeps_are_found_by_the_file_they_keep(tmp_path: Path) -> None:
    assert find_sweeps(tmp_path / "nowhere") == []
    for name in ("old", "new", "no-sweep"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "experiment.yaml").write_text("name: old")
    (tmp_path / "new" / "experiment.yaml").write_text("name: new")
    os.utime(tmp_path / "old" / "experiment.yaml", (1, 1))
    assert [(one.name, one.running) for one in find_sweeps(tmp_path)] == [("new", False), ("old", False)]


def test_two_predictions_are_told_apart_where_there_are_labels(tmp_path: Path) -> None:
    finals = []
    for number, skill in enumerate((0.9, 0.3)):
        path = tmp_path / f"{number}.npz"
        write_predictions(path, np.random.default_rng(number), skill, skill)
        finals.append(read_predictions(str(path), 0))
    a, b = finals
    labelled_HW = a.labels_HW != a.ignore_id
    picture_HW3, counts = standing(a, b)
    assert picture_HW3.shape == a.rgb_HW3.shape
    assert sum(counts.values()) == labelled_HW.sum()
    right_a = ((a.prediction_HW == a.labels_HW) & labelled_HW).sum()
    assert counts["both right"] + counts["only A right"] == right_a
    _, swapped = standing(b, a)
    assert (swapped["only A right"], swapped["only B right"]) == (counts["only B right"], counts["only A right"])


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x03\x04broken"])
def test_damaged_predictions_are_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "predictions.npz"
    path.write_bytes(content)
    with pytest.raises(HsrayError, match="cannot be read"):
        read_predictions(str(path), 1)


def test_predictions_that_name_no_class_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    write_predictions(path, np.random.default_rng(0), 0.5, 0.5)
    with np.load(path) as content:
        parts = dict(content)
    parts["prediction_HW"] = parts["prediction_HW"] + 99
    np.savez(path, **parts)
    with pytest.raises(HsrayError, match="name classes"):
        read_predictions(str(path), 2)
