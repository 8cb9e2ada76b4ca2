"""A sweep by the command line on a real Ray: whole, killed in the middle and started again, extended."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path

import numpy as np
import pytest

from hsray.scores import scores
from tests.sweep.sweeps import epochs_in_mlflow, hsray, ledger_states, mlflow_runs, start, write_experiment

CELLS, TRIALS, SEEDS = 4, 3, 2


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the tiny sweep ran undisturbed."""
    folder = tmp_path_factory.mktemp("whole")
    done = hsray(folder, "sweep", str(write_experiment(folder)))
    assert done.returncode == 0, done.stderr
    assert "mlflow ui" in done.stdout
    return folder


def check(folder: Path, trials: int = CELLS * TRIALS, finals: int = CELLS * SEEDS) -> None:
    runs = mlflow_runs(folder)
    assert sorted(run["kind"] for run in runs) == ["final"] * finals + ["trial"] * trials
    assert len({run["key"] for run in runs}) == len(runs), "one run a trial, ever"
    assert {run["status"] for run in runs} <= {"FINISHED"}
    states = ledger_states(folder)
    assert len(states) == trials and set(states) <= {"COMPLETE", "PRUNED"}
    epochs = epochs_in_mlflow(folder)
    for log in (folder / "runs").rglob("epochs.jsonl"):
        key = json.loads((log.parent / "spec.json").read_text())["key"]
        assert epochs[key] == len(log.read_text().splitlines())


def finals(folder: Path) -> dict[str, float]:
    found = {}
    for path in (folder / "runs").rglob("final-*/result.json"):
        spec = json.loads((path.parent / "spec.json").read_text())
        found[spec["name"]] = json.loads(path.read_text())["metrics"]["test/jaccard_macro"]
    return found


def test_a_whole_sweep(whole: Path) -> None:
    check(whole)
    table = json.loads(hsray(whole, "leaderboard", "tiny-sweep", "--format", "json").stdout)
    assert len(table["rows"]) == CELLS


def test_the_table_follows_from_the_stored_confusion_matrices(whole: Path) -> None:
    stored: dict[str, list[float]] = {}
    for path in (whole / "runs").rglob("final-*/confusion.npz"):
        arrays = np.load(path)
        jaccard = scores(arrays["confusion_NKK"].sum(0), int(arrays["ignore_id"]))["jaccard_macro"]
        tags = json.loads((path.parent / "spec.json").read_text())["tags"]
        stored.setdefault(f"{tags['hsray.strategy']} {tags['hsray.fraction']}", []).append(100 * jaccard)
    table = json.loads(hsray(whole, "leaderboard", "tiny-sweep", "--format", "json").stdout)
    for row in table["rows"]:
        mean = np.mean(stored[f"{row['strategy']} {row['axes']['fraction']}"])
        assert row["jaccard_macro"] == pytest.approx(mean, abs=1e-4)


def test_the_same_command_again_adds_nothing_and_more_seeds_are_added(whole: Path) -> None:
    before = finals(whole)
    again = hsray(whole, "sweep", str(whole / "experiment.yaml"))
    assert again.returncode == 0, again.stderr
    check(whole)
    write_experiment(whole, final={"seeds": SEEDS + 1})
    more = hsray(whole, "sweep", str(whole / "experiment.yaml"))
    assert more.returncode == 0, more.stderr
    check(whole, finals=CELLS * (SEEDS + 1))
    assert before.items() <= finals(whole).items()


def test_killed_half_way_and_started_again_it_ends_as_if_never_killed(whole: Path, tmp_path: Path) -> None:
    experiment = str(write_experiment(tmp_path))
    process = start(tmp_path, "sweep", experiment, start_new_session=True)
    results = tmp_path / "runs"
    while len(list(results.rglob("result.json"))) < 6:
        assert process.poll() is None, process.communicate()
        time.sleep(0.05)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert "RUNNING" in ledger_states(tmp_path) or len(ledger_states(tmp_path)) < CELLS * TRIALS
    again = hsray(tmp_path, "sweep", experiment)
    assert again.returncode == 0, again.stderr
    check(tmp_path)
    assert set(finals(tmp_path)) >= {name for name in finals(whole) if not name.endswith(f"final {SEEDS}")}


def test_a_trial_that_diverges_is_failed_with_its_reason_and_the_sweep_goes_on(tmp_path: Path) -> None:
    axes = {"dataset": ["tiny"], "strategy": ["mlp"]}
    experiment = write_experiment(
        tmp_path,
        axes=axes,
        search={"lr": {"choice": [1e-2, 1e30]}},
        budget={"trials": 6, "epochs": 2, "halving": False},
    )
    done = hsray(tmp_path, "sweep", str(experiment))
    assert done.returncode == 0, done.stderr
    states = ledger_states(tmp_path)
    assert {"FAIL", "COMPLETE"} == set(states) and len(states) == 6
    assert "the training loss is" in done.stderr
    failed = [run for run in mlflow_runs(tmp_path) if run["status"] == "FAILED"]
    assert len(failed) == states.count("FAIL") and all("training loss" in run["reason"] for run in failed)
    assert len(finals(tmp_path)) == 2


def test_a_searched_fraction_ends_in_a_pareto_front(tmp_path: Path) -> None:
    experiment = write_experiment(
        tmp_path,
        axes={"dataset": ["tiny"], "strategy": ["fc"]},
        search={"fraction": {"choice": [0.17, 0.5, 1.0]}, "lr": {"log": [1e-3, 1e-1]}},
        budget={"trials": 5, "epochs": 2},
    )
    done = hsray(tmp_path, "sweep", str(experiment))
    assert done.returncode == 0, done.stderr
    assert "Pareto" in done.stdout
    assert not finals(tmp_path)
