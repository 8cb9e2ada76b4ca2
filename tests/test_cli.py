"""What a user meets on the command line: quick help, one clear error each, exit codes, nothing written."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.sweep.sweeps import hsray, write_experiment


@pytest.mark.parametrize("command", [["--help"], ["leaderboard", "--help"]])
def test_help_imports_nothing_heavy(command: list[str]) -> None:
    code = (
        "import sys; from hsray.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'mlflow', 'polars', 'matplotlib', 'scipy', 'optuna'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code, *command], check=True, stdout=subprocess.DEVNULL)


def test_leaderboard_imports_neither_torch_nor_ray() -> None:
    code = "import sys, hsray.leaderboard; assert not {'torch', 'ray'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            {"axes": {"dataset": ["nowhere"], "strategy": ["mlp"]}},
            ["nowhere", "axes.dataset.0", "are there (tiny)"],
        ),
        ({"axes": {"dataset": ["tiny"], "strategy": ["mpl"]}}, ["did you mean 'mlp'"]),
        ({"budgets": {}}, ["unknown key 'budgets'"]),
        ({"axes": {"dataset": ["tiny"], "strategy": ["mlp"], "fraction": [0.001]}}, ["leaves no image", "at least"]),
    ],
)
def test_a_wrong_experiment_is_refused_and_nothing_is_written(tmp_path: Path, parts: dict, said: list[str]) -> None:
    path = write_experiment(tmp_path, **parts)
    done = hsray(tmp_path, "sweep", str(path))
    assert done.returncode == 2
    assert all(words in done.stderr for words in said), done.stderr
    assert "Traceback" not in done.stderr + done.stdout
    assert not (tmp_path / "runs").exists() and not (tmp_path / "mlflow.db").exists()


def test_an_mlflow_that_does_not_answer_is_refused_at_the_start(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    started = time.monotonic()
    done = hsray(tmp_path, "sweep", str(path), "--tracking-uri", "http://user:secret@127.0.0.1:9")
    assert done.returncode == 2 and "127.0.0.1:9" in done.stderr and "secret" not in done.stderr
    assert not (tmp_path / "runs").exists()
    assert time.monotonic() - started < 60


def test_prepare_inspect_train_plan(tmp_path: Path) -> None:
    path = write_experiment(tmp_path)
    planned = hsray(tmp_path, "plan", str(path))
    assert planned.returncode == 0 and "0/3" in planned.stdout and "4 cells" in planned.stdout
    looked = hsray(tmp_path, "inspect", "tiny", "--picture", "tiny.png")
    assert looked.returncode == 0 and "12 bands" in looked.stdout and (tmp_path / "tiny.png").stat().st_size > 1000
    trained = hsray(tmp_path, "train", "tiny", "mlp", "--task", "spectral", "--out", "one", "--set", "epochs=1")
    assert trained.returncode == 0 and "jaccard_macro" in trained.stdout
    again = hsray(tmp_path, "train", "tiny", "mlp", "--out", "one", "--set", "epochs=1")
    assert again.returncode == 2 and "a finished run lies here" in again.stderr
    wrong = hsray(tmp_path, "train", "tiny", "mlp", "--out", "two", "--set", "epochs")
    assert wrong.returncode == 2 and "not key=value" in wrong.stderr


def test_a_mistyped_command_is_a_wrong_request(tmp_path: Path) -> None:
    assert hsray(tmp_path, "swep").returncode == 2
