"""Runs as nobody should log them: the footer counts each with its reason, and the other rows are as without them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hsray.leaderboard.mirror import sync
from hsray.tracking import Tracker
from hsray.tracking.client import open_client
from tests.reliability.leaderboard.contents import content
from tests.tracking.folders import HERE, FakeRun

CLI = (sys.executable, "-m", "hsray.cli", "leaderboard")
SEEDS = 3


def hsray(folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    done = subprocess.run([*CLI, *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert "Traceback" not in done.stdout + done.stderr and not (folder / "hsray-error.log").exists(), done.stderr
    return done


def board(folder: Path, *arguments: str) -> dict[str, Any]:
    done = hsray(folder, "demo", "--format", "json", *arguments)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def deliver(uri: str, folder: Path, experiment: str = "demo") -> None:
    """A cell with three complete finals and three trials, as hsray logs them."""
    sweep, generator = folder / "runs" / experiment, np.random.default_rng(0)
    sweep.mkdir(parents=True)
    (sweep / "manifest.json").write_text("{}")
    for number in range(3):
        FakeRun(sweep, number=number).start().epochs(0, 2).end()
    for seed in range(SEEDS):
        FakeRun(sweep, "final", seed).start().epochs(0, 2).end_final(generator)
    tracker = Tracker(uri, experiment)
    tracker.reconcile(sweep, HERE)
    assert tracker.flush(60) == 0
    tracker.close()


TAGS = {
    "hsray.key": "k", "hsray.kind": "final", "hsray.cell": "dataset=indian-pines,strategy=runet,fraction=0.25@1a2b3c4d",
    "hsray.dataset": "indian-pines", "hsray.task": "segmentation", "hsray.strategy": "runet",
    "hsray.family": "in-domain", "hsray.fraction": "0.25", "hsray.seed": "9", "hsray.config": "c",
    "hsray.state": "complete",
    "hsray.axes": '{"dataset": "indian-pines", "strategy": "runet", "fraction": 0.25}',
}  # fmt: skip
SCORES = {f"test/{name}": 0.5 for name in ("accuracy_micro", "accuracy_macro", "f1_macro", "jaccard_macro")}
# Of every bad run: tags to change (None: absent), metrics, its status in MLflow, and what the footer says.
BAD: list[tuple[dict[str, str | None], dict[str, float], str, str]] = [
    (dict.fromkeys(TAGS), {}, "FINISHED", "no tag hsray.cell"),
    ({"hsray.family": None}, SCORES, "FINISHED", "no tag hsray.family"),
    ({"hsray.axes": "{"}, SCORES, "FINISHED", "hsray.axes is not JSON"),
    ({"hsray.axes": "[1]"}, SCORES, "FINISHED", "hsray.axes is not a JSON object"),
    ({"hsray.axes": '{"dataset": "indian-pines", "fraction": "lots"}'}, SCORES, "FINISHED", "fraction"),
    ({"hsray.axes": '{"dataset": "indian-pines", "fraction": NaN}'}, SCORES, "FINISHED", "fraction"),
    ({"hsray.axes": '{"dataset": "indian-pines", "fraction": [0.1]}'}, SCORES, "FINISHED", "fraction"),
    ({"hsray.axes": "[" * 2000}, SCORES, "FINISHED", "hsray.axes is not JSON"),
    ({"hsray.seed": "nine"}, SCORES, "FINISHED", "hsray.seed is not a number"),
    ({"hsray.seed": "9" * 40}, SCORES, "FINISHED", "hsray.seed is not a number"),
    ({"hsray.kind": "rehearsal"}, SCORES, "FINISHED", "hsray.kind is neither trial nor final"),
    ({"hsray.state": None}, SCORES, "FINISHED", "finished without the tag hsray.state"),
    ({}, {}, "FINISHED", "no finite metric " + ", ".join(SCORES)),
    ({}, SCORES | {"test/jaccard_macro": float("nan")}, "FINISHED", "no finite metric test/jaccard_macro"),
    ({}, SCORES | {"test/f1_macro": float("inf")}, "FINISHED", "no finite metric test/f1_macro"),
    ({"hsray.state": None}, {"test/accuracy_micro": 0.5}, "RUNNING", "1 run still running"),
    ({"hsray.state": None}, {}, "KILLED", "1 run not used: killed"),
    ({"hsray.state": "failed", "hsray.reason": "out of memory"}, {}, "FAILED", "out of memory"),
]  # fmt: skip


def log_bad(uri: str, experiment: str = "demo") -> None:
    client = open_client(uri)
    found = client.get_experiment_by_name(experiment)
    assert found is not None
    for changed, metrics, status, _ in BAD:
        tags = {name: value for name, value in (TAGS | changed).items() if value is not None}
        run = client.create_run(found.experiment_id, tags=tags)
        for name, value in metrics.items():
            client.log_metric(run.info.run_id, name, value)
        if status != "RUNNING":
            client.set_terminated(run.info.run_id, status)


@pytest.fixture
def folder(empty: str, tmp_path: Path) -> Path:
    """A store with a good cell, in the folder where the command is started."""
    Path(empty.removeprefix("sqlite:///")).rename(tmp_path / "mlflow.db")
    deliver(f"sqlite:///{tmp_path / 'mlflow.db'}", tmp_path)
    return tmp_path


def test_runs_that_cannot_be_used(folder: Path) -> None:
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    good = board(folder)
    log_bad(uri)
    found = board(folder)
    told = "\n".join(found["notes"])
    for _, _, _, reason in BAD:
        assert reason in told, f"{reason}\n\n{told}"
    costs = {"device_seconds", "features_seconds", "test_reads"}
    rows, expected = (
        [{k: v for k, v in row.items() if k not in costs} for row in one["rows"]] for one in (found, good)
    )
    assert rows == expected and len(rows) == 1
    text = hsray(folder, "demo", "--no-sync").stdout
    assert "still running" in text and "no finite metric" in text
    # Every other question, too, either answers or says why not.
    for question in (
        ("--curve",), ("--overall",), ("--cost",), ("--importance",), ("--compare", "runet", "runet"),
        ("--interval", "images"), ("--pivot", "fraction"), ("--against", "published"), ("--where", "seed>1"),
        ("--query", "SELECT count(*) FROM runs"),
    ):  # fmt: skip
        done = hsray(folder, *(() if question[0] == "--query" else ("demo",)), "--no-sync", *question)
        assert done.returncode == 0 or (done.returncode in (1, 2) and "do:" in done.stderr), (question, done.stderr)


def test_only_runs_that_cannot_be_used(empty: str, tmp_path: Path) -> None:
    Path(empty.removeprefix("sqlite:///")).rename(tmp_path / "mlflow.db")
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    open_client(uri).create_experiment("demo")
    log_bad(uri)
    found = board(tmp_path)
    assert not found["rows"] and any("not used" in note for note in found["notes"])
    for format in ("table", "csv", "markdown", "latex", "html"):
        assert hsray(tmp_path, "demo", "--no-sync", "--format", format).returncode == 0


def test_two_experiments_of_one_name(folder: Path, none: Path) -> None:
    """In two stores: kept apart, and the footer says so."""
    (folder / "other").mkdir()
    other = folder / "other" / "mlflow.db"
    other.write_bytes(none.read_bytes())
    deliver(f"sqlite:///{other}", folder / "other")
    both = ("--tracking-uri", f"sqlite:///{folder / 'mlflow.db'}", "--tracking-uri", f"sqlite:///{other}")
    found = board(folder, *both)
    assert [row["seeds"] for row in found["rows"]] == [SEEDS, SEEDS], "not six seeds of one cell"
    told = "\n".join(found["notes"])
    assert str(folder / "mlflow.db") in told and str(other) in told


def test_an_experiment_deleted_and_made_again(folder: Path) -> None:
    """MLflow keeps the deleted one's name until it is renamed; the runs of the new one count alone."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = open_client(uri)
    before = board(folder)["rows"]
    client.rename_experiment("1", "demo-old")
    client.delete_experiment("1")
    done = hsray(folder, "demo")
    assert done.returncode == 2 and "demo" in done.stderr
    deliver(uri, folder / "again")
    assert len(board(folder)["rows"]) == len(before) == 1
    assert set(content(folder / "mirror")["runs"]["experiment_id"]) == {"2"}
    client.restore_experiment("1")
    sync(folder / "mirror", uri)
    assert set(content(folder / "mirror")["runs"]["experiment"]) == {"demo", "demo-old"}


def test_strange_texts(folder: Path) -> None:
    """Names, tags and reasons of any characters reach the table, and none of them the terminal as a command."""
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = open_client(uri)
    for text in ("\x1b[2J\x07", "ü漢字🚀", "a\nb", "'; DROP TABLE runs; --", "<script>alert(1)</script>", "\\input{x}"):
        cell = f"dataset=indian-pines,strategy={text},fraction=0.25@1a2b3c4d"
        axes = json.dumps({"dataset": "indian-pines", "strategy": text, "fraction": 0.25})
        tags = TAGS | {"hsray.cell": cell, "hsray.strategy": text, "hsray.axes": axes, "hsray.reason": text}
        run = client.create_run("1", tags=tags, run_name=text)
        for name, value in SCORES.items():
            client.log_metric(run.info.run_id, name, value)
        client.set_terminated(run.info.run_id)
    assert len(board(folder)["rows"]) == 7
    for format in ("table", "csv", "markdown", "latex", "html"):
        done = hsray(folder, "demo", "--no-sync", "--format", format)
        assert done.returncode == 0, done.stderr
        assert format == "csv" or "\x1b[2J" not in done.stdout
        assert format != "html" or "<script>alert" not in done.stdout
        assert format != "latex" or "\\input{x}" not in done.stdout
