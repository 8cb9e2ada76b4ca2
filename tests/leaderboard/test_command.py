"""`hsray leaderboard` over a real store: what it selects, shows, writes, refuses, and imports."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from typer.testing import CliRunner

import hsray.leaderboard
from hsray.cli import app
from hsray.errors import HsrayError, RequestError
from hsray.leaderboard.mirror import mirror
from hsray.leaderboard.mirror.artifacts import fetch
from hsray.leaderboard.statistics import FEWEST_IMAGES
from hsray.tracking import Tracker
from hsray.tracking.client import open_client
from tests.leaderboard.conftest import empty_store
from tests.tracking.folders import HERE, FakeRun

__all__ = ["empty_store"]


@dataclass
class Asked:
    """The command in a folder with a store and its mirror."""

    folder: Path
    uri: str

    @property
    def options(self) -> list[str]:
        return ["--mirror", str(self.folder / "mirror"), "--tracking-uri", self.uri]

    def __call__(self, *words: str, sync: bool = False, code: int = 0) -> str:
        """Standard output; of a refusal the error."""
        done = CliRunner().invoke(app, ["leaderboard", *words, *self.options, *([] if sync else ["--no-sync"])])
        if isinstance(done.exception, HsrayError):
            assert done.exception.exit_code == code, done.exception
            return str(done.exception)
        assert done.exit_code == code and not (done.exception and code == 0), done.output or repr(done.exception)
        return done.stdout

    def untold(self, *words: str) -> str:
        """Standard error."""
        return CliRunner().invoke(app, ["leaderboard", *words, *self.options, "--no-sync"]).stderr

    def rows(self, *words: str, sync: bool = False) -> list[dict]:
        return json.loads(self(*words, "--format", "json", sync=sync))["rows"]


@pytest.fixture(scope="module")
def asked(empty_store: Path, tmp_path_factory: pytest.TempPathFactory) -> Asked:
    folder = tmp_path_factory.mktemp("board")
    uri = f"sqlite:///{shutil.copy(empty_store, folder / 'mlflow.db')}"
    sweep = folder / "runs" / "demo"
    sweep.mkdir(parents=True)
    (sweep / "manifest.json").write_text("{}")
    generator = np.random.default_rng(0)
    for dataset in ("hyko2", "hcv2-iros2024"):
        for strategy, skill in (("runet", 0.3), ("hypersl", 0.9)):
            for fraction, seeds in ((0.1, 2), (1.0, 3)):
                tags = {"hsray.contaminated": "x"} if (dataset, strategy) == ("hyko2", "hypersl") else {}
                for seed in range(seeds):
                    run = FakeRun(sweep, "final", seed, dataset=dataset, strategy=strategy, fraction=fraction)
                    run.start(**tags).end_final(generator, skill)
    FakeRun(sweep, number=0, dataset="hyko2", fraction=1.0).start().end()
    FakeRun(sweep, "final", 7, dataset="hyko2").start().end()  # half-finished: no test scores
    FakeRun(sweep, number=1, dataset="hyko2", strategy="efficientnet").start().end("FAILED", "no memory")
    tracker = Tracker(uri, "demo")
    tracker.reconcile(sweep, HERE)
    assert tracker.flush(60) == 0
    tracker.close()
    client = open_client(uri)
    client.create_run(client.get_experiment_by_name("demo").experiment_id, 0)  # bare, and running
    found = Asked(folder, uri)
    found("demo", sync=True)
    return found


def test_all_formats_agree_and_hold_the_whole_statistics(asked: Asked) -> None:
    rows = asked.rows("demo")
    assert len(rows) == 8 and {"jaccard_macro_sd", "jaccard_macro_iqm", "jaccard_macro_low", "interval"} <= set(rows[0])
    csv = pl.read_csv(io.StringIO(asked("--format", "csv")))
    asked("demo", "--out", str(asked.folder / "board.parquet"))
    parquet = pl.read_parquet(asked.folder / "board.parquet")
    said = asked.untold("demo", "--format", "csv")
    assert "‡ contaminated" in said and "Student's t" in said
    assert "95 %" in asked.untold("demo", "--format", "csv", "--curve")
    for frame in (csv, parquet):
        assert frame["jaccard_macro"].to_list() == pytest.approx([row["jaccard_macro"] for row in rows])
        assert frame["jaccard_macro_low"].null_count() == 4  # of two seeds
    text = asked("demo")
    for words in ("Student's t", "±", "hypersl ‡", "‡ contaminated", "no interval with fewer than 3 seeds", "IQM"):
        assert words in text
    assert asked("demo") == text  # to the last digit


def test_the_footer_counts_what_is_in_no_row(asked: Asked) -> None:
    text = asked("demo", "--where", "dataset=hyko2")
    assert "1 run not used: no finite metric test/" in text
    assert "1 run not used: no tag hsray.cell" in text
    assert "every trial failed: no memory (1×)" in text
    assert "10 runs left out by the filters" in text


def test_filters_groups_order_and_pivot(asked: Asked) -> None:
    rows = asked.rows("demo", "--where", "dataset=hyko2", "--where", "fraction<=0.1")
    assert {(row["dataset"], row["fraction"]) for row in rows} == {("hyko2", "10 %")} and len(rows) == 2
    found = asked.rows("demo", "--where", "lr>0.001")  # a searched one: of the later seeds
    assert sorted(row["seeds"] for row in found) == [1, 1, 1, 1, 2, 2, 2, 2]
    up = [row["seeds"] for row in asked.rows("demo", "--sort", "seeds")]
    assert up == [2, 2, 2, 2, 3, 3, 3, 3]
    tables = json.loads(asked("demo", "--pivot", "fraction", "--format", "json"))["tables"]
    assert [table["title"].split(":")[0] for table in tables] == ["hcv2-iros2024", "hyko2"]
    assert [column["name"] for column in tables[0]["columns"]] == ["strategy", "family", "10 %", "100 %"]
    score = {(row["dataset"], row["strategy"], row["fraction"]): row["f1_macro"] for row in asked.rows("demo")}
    tables = json.loads(asked("demo", "--pivot", "dataset", "--metric", "f1_macro", "--format", "json"))["tables"]
    for table, fraction in zip(tables, ("10 %", "100 %"), strict=True):
        for row in table["rows"]:
            assert row["hyko2"] == score["hyko2", row["strategy"], fraction]
    page = asked("demo", "--group-by", "strategy", "--format", "html")
    assert page.count("<table>") == 2 and "strategy hypersl" in page


def test_latex_marks_the_ranked_alone_and_carries_its_footnotes(asked: Asked) -> None:
    latex = asked("demo", "--pivot", "dataset", "--format", "latex", "--where", "fraction=1")
    assert latex.count(r"\begin{table}") == latex.count(r"\end{table}") == 1 and r"\toprule" in latex
    line = next(line for line in latex.splitlines() if "hypersl &" in line)
    assert line.count(r"\textbf") == 1 and line.count(r"\ddagger") == 1  # best on hcv2, contaminated on hyko2
    disputed = asked("demo", "--format", "latex", "--where", "fraction=1", "--against", "published")
    assert r"43.33\(^{\dagger}\)" in disputed and r"\footnotesize \(^{\dagger}\) RU-Net" in disputed


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("dmeo",), ["no experiment 'dmeo'", "demo"]),
        (("demo", "--where", "stratgy=x"), ["'stratgy'", "strategy", "adapter"]),
        (("demo", "--where", "strategy"), ["no condition"]),
        (("demo", "--pivot", "adapter"), ["--pivot", "fraction"]),
        (("demo", "--group-by", "x"), ["--group-by", "dataset"]),
        (("demo", "--sort", "-x"), ["no column 'x'", "jaccard_macro"]),
        (("demo", "--sort", "x", "--format", "csv"), ["no column 'x'"]),
        (("demo", "--query", "SELECT 1"), ["nothing else goes with it"]),
        (("--query", "SELECT 1", "--pivot", "fraction"), ["nothing else goes with it", "--pivot"]),
        (("--query", "SELECT 1", "--metric", "f1_macro"), ["nothing else goes with it", "--metric"]),
        (("demo", "--pivot", "fraction", "--against", "published"), ["no room for published", "--pivot"]),
        (("demo", "--cost", "--interval", "both"), ["--interval", "which is not shown", "--cost"]),
        (("demo", "--compare", "hypersl", "runet", "--sort", "seeds"), ["--sort", "which is not shown", "--compare"]),
        (("demo", "--importance", "--metric", "f1_macro"), ["--metric", "validation Jaccard"]),
        (("demo", "--full"), ["--no-sync"]),
        (("--query", "DROP TABLE runs"), ["only reads"]),
        (("demo", "--out", "board.docx"), ["does not say the format", ".tex"]),
        (("demo", "--out", "no/such/folder/board.csv"), ["no such folder"]),
        (("--picture", "x.png"), ["one experiment"]),
    ],
)
def test_a_wrong_request_is_named(asked: Asked, words: tuple[str, ...], said: list[str]) -> None:
    error = asked(*words, code=2)
    assert all(one in error for one in said), error


def test_a_file_is_replaced_only_when_told(asked: Asked) -> None:
    path = asked.folder / "board.md"
    path.write_text("mine")
    assert "there already" in asked("demo", "--out", str(path), code=2) and path.read_text() == "mine"
    asked("demo", "--out", str(path), "--overwrite")
    assert "| strategy | family |" in path.read_text()
    assert not list(asked.folder.glob(".board*"))


def test_without_a_mirror_no_sync_says_so(tmp_path: Path) -> None:
    found = Asked(tmp_path, f"sqlite:///{tmp_path}/mlflow.db")
    assert "no mirror" in found("demo", code=2)
    assert list(tmp_path.iterdir()) == []


def test_two_sources_of_one_name_are_kept_apart_and_one_store_counts_once(asked: Asked, tmp_path: Path) -> None:
    copy = f"sqlite:///{shutil.copy(asked.folder / 'mlflow.db', tmp_path / 'copy.db')}"
    both = Asked(tmp_path, asked.uri)
    text = both("demo", "--tracking-uri", copy, sync=True)
    assert f"24 runs of demo at {copy} not used: the same store was synced later" in " ".join(text.split())
    assert len(both.rows("demo")) == 8
    client = open_client(copy)
    for run in client.search_runs([client.get_experiment_by_name("demo").experiment_id]):
        client.delete_run(run.info.run_id)
    sweep = tmp_path / "runs" / "demo"
    sweep.mkdir(parents=True)
    (sweep / "manifest.json").write_text("{}")
    FakeRun(sweep, "final", 0, dataset="hyko2", fraction=1.0).start().end_final(np.random.default_rng(9), 0.5)
    tracker = Tracker(copy, "demo")
    tracker.reconcile(sweep, HERE)
    tracker.flush(60)
    tracker.close()
    text = both("demo", "--tracking-uri", copy, sync=True)
    rows = both.rows("demo", "--where", "dataset=hyko2", "--where", "fraction=1", "--where", "strategy=runet")
    assert sorted(row["seeds"] for row in rows) == [1, 3] and len({row["experiment"] for row in rows}) == 2
    assert "2 experiments are called demo, kept apart" in text


def test_intervals_over_images_say_what_they_lack(asked: Asked) -> None:
    text = asked("demo", "--interval", "images", sync=True)
    assert "95 % interval over test images" in text and f"fewer than {FEWEST_IMAGES} labelled test images" in text
    assert "±" not in text  # three images


def test_files_are_fetched_from_the_addresses_as_they_were_given(
    asked: Asked, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With user and password, or here an option, which the mirror does not keep."""
    found = []

    def spied(place: str, name: str, path: Path, aside: Path, uri: str) -> bool:
        found.append(uri)
        return fetch(place, name, path, aside, uri)

    monkeypatch.setattr(mirror, "fetch", spied)
    given = Asked(tmp_path, f"{asked.uri}?timeout=9")
    given("demo", "--interval", "images", sync=True)
    assert set(found) == {given.uri}


def test_a_damaged_confusion_file_costs_one_cell_its_interval(asked: Asked) -> None:
    asked("demo", "--interval", "images", sync=True)
    kept = sorted((asked.folder / "mirror" / "artifacts").rglob("confusion.npz"))
    whole = kept[0].read_bytes()
    kept[0].write_bytes(whole[:100])
    text = asked("demo", "--interval", "images")
    kept[0].write_bytes(whole)
    assert "no interval, these confusion matrices cannot be read" in text and kept[0].parent.name in text
    assert len(asked.rows("demo")) == 8


def test_the_python_face(asked: Asked) -> None:
    board = hsray.leaderboard.load("demo", uri=asked.uri, mirror=asked.folder / "mirror", where=["dataset=hyko2"])
    assert isinstance(board.runs, pl.LazyFrame) and board.notes == ["10 runs left out by the filters"]
    assert board.table().height == 4
    assert {len(board.chart(kind).to_dict()["vconcat"]) for kind in ("scores", "curve")} == {2, 1}
    assert board.compare("hypersl", "runet").height == 2 and board.curves().height == 4
    whole = hsray.leaderboard.load("demo", mirror=asked.folder / "mirror", sync=False)
    assert whole.curves()["dataset"].to_list() == ["hcv2-iros2024"] * 4 + ["hyko2"] * 4
    charts = whole.chart("curve").to_dict()["vconcat"]
    names = [chart["layer"][2]["encoding"]["color"]["scale"]["domain"] for chart in charts]
    assert names == [["hypersl", "runet"], ["hypersl ‡", "runet"]]
    assert board.query("SELECT count(*) AS n FROM runs")["n"].item() == 24
    with pytest.raises(RequestError):
        hsray.leaderboard.load("dmeo", mirror=asked.folder / "mirror", sync=False)


def test_the_table_from_the_mirror_imports_nothing_heavy(asked: Asked) -> None:
    code = (
        "import sys; from hsray.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as end: assert not end.code, end.code\n"
        "print(*sys.modules, file=sys.stderr)"
    )
    words = ["leaderboard", "demo", "--no-sync", "--mirror", str(asked.folder / "mirror"), "--format", "latex"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=True, timeout=60)
    heavy = (
        "torch ray mlflow scipy sklearn matplotlib optuna altair pandas pyarrow sqlalchemy streamlit great_tables rich"
    )
    assert not set(heavy.split()) & set(done.stderr.split())
    assert r"\toprule" in done.stdout
