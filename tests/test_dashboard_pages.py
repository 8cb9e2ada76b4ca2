"""What the dashboard's pages compute, without a server."""

from __future__ import annotations

import math
import os
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from hsray.errors import HsrayError
from hsray.leaderboard import predictions
from tests.tracking.folders import FakeRun, write_predictions

pytest.importorskip("streamlit")
from streamlit import net_util
from streamlit.web.server import server_util

from hsray.dashboards import server
from hsray.dashboards.links import server_of
from hsray.dashboards.picker import read_pixel
from hsray.dashboards.pictures import read_predictions, standing
from hsray.dashboards.sweeps import MOST_CURVES, MOST_POINTS, find_sweeps, learning_curves
from hsray.dashboards.testimages import ORDERS, ordered
from hsray.dashboards.words import fault, plain


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
    assert find_sweeps(tmp_path / "nowhere") == ([], [])
    for name in ("old", "new", "no-sweep"):
        (tmp_path / name).mkdir()
    (tmp_path / "old" / "experiment.yaml").write_text("name: old")
    (tmp_path / "new" / "experiment.yaml").write_text("name: new")
    os.utime(tmp_path / "old" / "experiment.yaml", (1, 1))
    found, unread = find_sweeps(tmp_path)
    assert [(one.name, one.running) for one in found] == [("new", False), ("old", False)]
    assert unread == []


def test_a_folder_that_cannot_be_read_hides_no_other(tmp_path: Path) -> None:
    """Loops of links, which root cannot follow either: of the folder, and of the lock in it."""
    for name in ("good", "locked"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "experiment.yaml").write_text("name: x")
    (tmp_path / "locked" / "driver.lock").symlink_to("driver.lock")
    (tmp_path / "loop").symlink_to("loop")
    found, unread = find_sweeps(tmp_path)
    assert [one.name for one in found] == ["good"]
    assert [one.split(":")[0] for one in unread] == ["locked", "loop"]
    assert find_sweeps(tmp_path / "loop")[1]


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
    with pytest.raises(HsrayError, match="does not name"):
        read_predictions(str(path), 2)


def test_predictions_that_would_fill_the_memory_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "predictions.npz"
    write_predictions(path, np.random.default_rng(0), 0.5, 0.5)
    monkeypatch.setattr(predictions, "MOST_PIXELS", 16)
    with pytest.raises(HsrayError, match="would unpack"):
        read_predictions(str(path), 3)


def test_predictions_whose_undefined_class_is_none_of_theirs_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "predictions.npz"
    write_predictions(path, np.random.default_rng(0), 0.5, 0.5)
    with np.load(path) as content:
        parts = dict(content)
    np.savez(path, **parts | {"ignore_id": np.int64(255)})
    with pytest.raises(HsrayError, match="undefined class"):
        read_predictions(str(path), 4)


def test_images_are_ordered_by_what_they_show_best() -> None:
    of_a, of_b = {"x": 50.0, "y": 20.0, "z": 90.0, "n": math.nan}, {"x": 80.0, "y": 10.0, "z": 89.0, "n": 3.0}
    names = list(of_a)
    found = ["".join(ordered(names, of_a, of_b, order)) for order in ORDERS]
    assert found == ["xyzn", "yxzn", "yzxn", "xzyn"]


@settings(max_examples=100)
@given(st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]) | st.just(" "), min_size=1).map(str.strip))
@example("![x](http://127.0.0.1:9/p.png)")
@example("1. *a* `b` <img src=x> &amp; [l](x) c\\")
@example("# h")
def test_a_name_is_shown_as_it_is(name: str) -> None:
    tokens = MarkdownIt().enable("table").enable("strikethrough").parse(plain(name))
    assert {token.type for token in tokens} <= {"paragraph_open", "inline", "paragraph_close"}
    words = [child for token in tokens for child in token.children or []]
    assert {word.type for word in words} <= {"text", "text_special"}
    assert "".join(word.content for word in words) == name
    assert plain(":red[$x$]") == r"\:red\[\$x\$\]"  # Streamlit's own


def test_a_fault_is_told_with_its_place_and_what_to_do() -> None:
    assert fault(HsrayError("what", do="do")) == "what\n\ndo"
    assert fault(HsrayError("a*b", where="c_d")) == "a\\*b\n\nc\\_d"


@pytest.mark.parametrize(
    ("uri", "link"),
    [
        ("http://mlflow:5000", "http://mlflow:5000"),
        ("https://user:p@ss@mlflow:5000/below/", "https://mlflow:5000/below"),
        ("sqlite:///mlflow.db", None),
    ],
)
def test_a_link_to_mlflow_can_be_opened_and_holds_no_password(uri: str, link: str | None) -> None:
    assert server_of(uri) == link


def test_a_page_of_another_origin_lets_the_server_ask_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(net_util, "_make_blocking_http_get", lambda url, timeout=5: asked.append(url))
    assert server.app is not None
    assert not server_util.is_url_from_allowed_origins("http://stranger.example")
    assert asked == []


@pytest.mark.parametrize(
    ("text", "pixel"),
    [
        ("3,5", [3, 5]), ("0,0", [0, 0]), ("9,5", None), ("3,-1", None), ("3", None), ("", None), ("a,b", None),
        ("3,5,1", None), ("9" * 5000 + ",1", None),
    ],
)  # fmt: skip
def test_a_pixel_is_read_from_the_address(text: str, pixel: list[int] | None) -> None:
    assert read_pixel(text, 9, 8) == pixel
