"""Published figures are data: all of them, with what is disputed; and the columns that set ours against them."""

from __future__ import annotations

import io
import json
import time
from collections import Counter
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hsray.leaderboard import against_published, find_published, published_rows, render, table
from hsray.leaderboard.published import DISPUTED
from hsray.leaderboard.runs import load
from hsray.scores import METRICS
from tests.leaderboard.conftest import Deliver
from tests.tracking.folders import FakeRun

# As the source prints it: means over the three datasets, which our rows must give again.
AVERAGES = {
    ("U-Net", "HSI"): (88.52, 63.84, 64.27, 53.36), ("RU-Net", "HSI"): (90.14, 67.58, 68.26, 57.68),
    ("RU-Net", "PCA1"): (90.29, 70.99, 71.07, 60.72), ("RU-Net", "pRGB"): (91.15, 71.09, 71.80, 61.34),
    ("DL3+", "HSI"): (87.74, 60.58, 61.53, 50.21), ("DL3+", "PCA1"): (85.84, 59.66, 60.07, 48.20),
    ("DL3+", "pRGB"): (88.13, 62.41, 63.37, 51.75), ("DL3+ (BB)", "pRGB"): (92.61, 74.30, 75.15, 64.75),
    ("DL3+ (PT)", "pRGB"): (91.31, 72.61, 73.68, 62.57),
}  # fmt: skip


def test_the_rows_give_the_sources_own_averages() -> None:
    rows = [row for row in published_rows() if row.input and row.task == "segmentation"]
    assert Counter(row.dataset for row in rows) == {"hcv2-iros2024": 10, "hyko2": 9, "hsidrive": 9}
    for (model, input_), printed in AVERAGES.items():
        three = [row for row in rows if (row.model, row.input) == (model, input_)]
        assert len(three) == 3
        for metric, average in zip(METRICS, printed, strict=True):
            values = [
                row.disputed[metric][0] if metric in row.disputed else row.scores[metric] for row in three
            ]  # the average agrees with the other figure
            assert np.mean(values) == pytest.approx(average, abs=0.0151), (model, input_, metric)


def test_the_strategies_named_are_in_the_catalogue() -> None:
    from hsray.leaderboard.published import _content
    from hsray.strategies.strategy import catalogue

    assert set(_content()["strategies"]) <= set(catalogue())
    for dataset in ("hyko2", "hsidrive", "hcv2-iros2024"):
        assert all(find_published("segmentation", dataset, name) for name in _content()["strategies"])
    assert find_published("segmentation", "hcv2", "runet") is None  # another split
    assert find_published("spectral", "hyko2", "runet") is None
    assert find_published("segmentation", "hyko2", "mlp") is None


@pytest.fixture
def board_of_three(delivered: Deliver, sweep_dir: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(__import__("tests.tracking.folders", fromlist=["x"]).FAMILIES, "mine", "cross-domain")
    for dataset, strategy, fraction, tags in (
        ("hcv2-iros2024", "runet", 1.0, {}),
        ("hcv2-iros2024", "runet", 0.1, {}),
        ("hcv2-iros2024", "mine", 1.0, {"hsray.contaminated": "HCV2"}),
        ("hyko2", "runet", 1.0, {}),
    ):
        for seed in range(1):
            run = FakeRun(sweep_dir, "final", seed, dataset=dataset, strategy=strategy, fraction=fraction)
            run.start(**tags).end_final(np.random.default_rng(seed), 0.99 if strategy == "mine" else 0.7)
    return table(load("demo", delivered()))


def test_ours_published_difference(board_of_three) -> None:
    board = against_published(board_of_three)
    rows = {(row["dataset"], row["strategy"], row["fraction"]): row for row in board.rows.iter_rows(named=True)}
    row = rows["hcv2-iros2024", "runet", "100 %"]
    assert (row["published_model"], row["published_input"], row["published_jaccard_macro"]) == ("RU-Net", "HSI", 43.33)
    assert row["difference_f1_macro"] == pytest.approx(row["f1_macro"] - 53.26)
    assert rows["hcv2-iros2024", "runet", "10 %"]["published_f1_macro"] is None
    assert rows["hcv2-iros2024", "mine", "100 %"]["published_model"] is None
    assert any("43.33" in note and "42.23" in note for note in board.notes)
    assert any("88.24" in note and "second hand" in note for note in board.notes)
    markdown = render(board, "markdown")
    line = next(line for line in markdown.splitlines() if "RU-Net, HSI" in line and f"43.33 {DISPUTED}" in line)
    assert f"{row['jaccard_macro']:.2f} | 43.33 {DISPUTED} | {row['jaccard_macro'] - 43.33:+.2f} |" in line
    text = render(board)
    assert "ours against published" in text and max(map(len, text.splitlines())) <= 160 and "…" not in text
    read = pl.read_csv(io.StringIO(render(board, "csv")))
    assert read["difference_jaccard_macro"].drop_nulls().len() == 2
    content = json.loads(render(board, "json"))
    assert sum(one["published_jaccard_macro"] is not None for one in content["rows"]) == 2


def test_a_contaminated_strategy_is_flagged_in_every_format_and_wins_nothing(board_of_three) -> None:
    rows = {(row["strategy"], row["dataset"]): row["contaminated"] for row in board_of_three.rows.iter_rows(named=True)}
    assert rows == {("mine", "hcv2-iros2024"): True, ("runet", "hcv2-iros2024"): False, ("runet", "hyko2"): False}
    for format in ("table", "markdown"):
        text = render(board_of_three, format)
        assert "mine ‡" in text and "runet ‡" not in text and "‡ contaminated" in text
    best = next(line for line in render(board_of_three, "markdown").splitlines() if line.startswith("| mine ‡"))
    assert "**" not in best
    assert [one["contaminated"] for one in json.loads(render(board_of_three, "json"))["rows"]].count(True) == 1
    assert pl.read_csv(io.StringIO(render(board_of_three, "csv")))["contaminated"].sum() == 1


def test_a_contaminated_front_is_flagged(delivered: Deliver, sweep_dir: Path) -> None:
    run = FakeRun(sweep_dir, number=0, strategy="hypersl", fraction=None).start(**{"hsray.contaminated": "x"})
    run.end(**{"val/jaccard_macro": 0.5})
    found = table(load("demo", delivered()))
    assert found.fronts["contaminated"].to_list() == [True]
    assert (
        "hypersl ‡" in render(found) and "hypersl ‡" in render(found, "markdown") and "‡ contaminated" in render(found)
    )


def test_the_rows_are_read_without_delay() -> None:
    started = time.perf_counter()
    published_rows.cache_clear()
    assert len(published_rows()) == 33
    assert time.perf_counter() - started < 0.3
