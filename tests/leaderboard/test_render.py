from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from hsray.errors import RequestError
from hsray.leaderboard import FORMATS, Board, figure, print_table, render, table
from hsray.leaderboard.board_sheets import View
from hsray.leaderboard.render import rendered, untold
from hsray.leaderboard.runs import load
from tests.leaderboard.conftest import Deliver
from tests.leaderboard.frames import finals, frame, trials
from tests.tracking.folders import FakeRun


@pytest.fixture
def uri_of_two(delivered: Deliver, sweep_dir: Path) -> str:
    for strategy, skill in (("runet", 0.4), ("hypersl", 0.9)):
        for fraction in (0.25, 1.0):
            for seed in range(3):
                run = FakeRun(sweep_dir, "final", seed, strategy=strategy, fraction=fraction).start()
                run.end_final(np.random.default_rng(seed), skill * fraction**0.1)
    return delivered()


@pytest.fixture
def board(uri_of_two: str) -> Board:
    return table(load("demo", uri_of_two))


def test_csv_and_json_hold_the_rows(board: Board) -> None:
    read = pl.read_csv(io.StringIO(render(board, "csv")))
    assert read["jaccard_macro"].to_list() == pytest.approx(board.rows["jaccard_macro"].to_list())
    content = json.loads(render(board, "json"))
    assert content["experiment"] == "demo"
    assert [row["jaccard_macro"] for row in content["rows"]] == board.rows["jaccard_macro"].to_list()
    assert content["rows"][0]["axes"] == {"dataset": "indian-pines", "strategy": "hypersl", "fraction": 0.25}
    assert content["notes"] == board.notes


def test_markdown_marks_the_best_of_each_group(board: Board) -> None:
    lines = [line for line in render(board, "markdown").splitlines() if line.startswith(("| hypersl", "| runet"))]
    assert ["**" in line for line in lines] == [True, False, True, False]
    row = board.rows.row(0, named=True)
    half = row["jaccard_macro_high"] - row["jaccard_macro"]
    assert f"**{row['jaccard_macro']:.2f} ± {half:.2f}**" in lines[0]


def test_the_table_says_its_method_and_fits(board: Board) -> None:
    text = render(board)
    assert "Student's t" in text
    assert "indian-pines, 25 % of the training images" in text
    assert max(map(len, text.splitlines())) <= 160
    assert "…" not in text


def test_an_empty_experiment_has_words_not_a_traceback(uri: str) -> None:
    from hsray.tracking.client import open_client

    open_client(uri).create_experiment("demo")
    board = table(load("demo", uri))
    for name in FORMATS:
        assert rendered(board, name)
    assert "nothing to compare yet" in render(board)
    with pytest.raises(RequestError, match="nothing to draw"):
        figure("demo", uri, Path("never.png"))
    assert not Path("never.png").exists()


def test_bad_requests(uri_of_two: str, board: Board, tmp_path: Path) -> None:
    with pytest.raises(RequestError) as caught:
        load("dmeo", uri_of_two)
    assert "demo" in str(caught.value.do)
    with pytest.raises(RequestError, match="no MLflow store"):
        load("demo", f"sqlite:///{tmp_path}/nowhere/mlflow.db")
    with pytest.raises(RequestError) as caught:
        render(board, "pdf")
    assert "markdown" in str(caught.value.do)


def test_reading_a_store_that_is_not_there_makes_none(tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        load("demo", f"sqlite:///{tmp_path}/mlflow.db")
    assert list(tmp_path.iterdir()) == []


def test_printing_imports_neither_torch_nor_ray(uri_of_two: str) -> None:
    program = (
        "import sys; from hsray.leaderboard import print_table; print_table('demo', sys.argv[1], 'csv'); "
        "print({'torch', 'ray'} & sys.modules.keys(), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, uri_of_two], capture_output=True, text=True, check=True, timeout=60
    )
    assert done.stderr.splitlines()[-1] == "set()"
    assert len(done.stdout.splitlines()) == 1 + 4


def test_what_does_not_fit_into_a_frame_is_said_beside_it() -> None:
    searched = trials(0.5, 0.6, fraction=None, strategy="vit")
    searched[1]["labelled_images"] = 20.0
    board = table(frame(*finals(0.5, 0.6), *searched))
    for name in ("csv", "parquet"):
        assert untold(board, name) == [*board.notes, f"2 rows of Pareto fronts not in {name}: --format json has them"]
        assert untold(board, name, View(pivot="fraction")) == board.notes  # which holds the fronts
        assert untold(table(frame(*searched)), name) == []
    assert len(json.loads(render(board, "json"))["fronts"]) == 2
    for name in ("json", "table", "html", "latex", "markdown"):
        assert untold(board, name) == []


def test_print_table(uri_of_two: str, capsys: pytest.CaptureFixture[str]) -> None:
    print_table("demo", uri_of_two)
    printed = capsys.readouterr().out
    assert "hypersl" in printed
    assert "±" in printed


def test_the_picture_shows_the_predictions_in_their_colours(uri_of_two: str, tmp_path: Path) -> None:
    figure("demo", uri_of_two, tmp_path / "demo.png")
    pixels = np.asarray(Image.open(tmp_path / "demo.png").convert("RGB")).reshape(-1, 3)
    seen = {tuple(colour) for colour in np.unique(pixels, axis=0).tolist()}
    assert {(230, 190, 60), (90, 180, 90), (20, 90, 60), (58, 58, 58)} <= seen
    assert (0, 0, 0) not in seen  # the undefined class's own colour is never used


def test_the_picture_without_predictions(delivered: Deliver, sweep_dir: Path, tmp_path: Path) -> None:
    run = FakeRun(sweep_dir, "final", 0).start().end_final(np.random.default_rng(0))
    (run.folder / "predictions.npz").unlink()
    figure("demo", delivered(), tmp_path / "demo.png")
    assert Image.open(tmp_path / "demo.png").size[0] > 500
