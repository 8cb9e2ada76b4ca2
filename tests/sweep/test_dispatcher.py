"""What a sweep hands out when it is asked to stop, what it keeps, and what it says of runs that the machine failed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hsray.experiment import Experiment, parse_experiment
from hsray.runlog import append_epoch, write_json
from hsray.sweep.cells import Cell, cells
from hsray.sweep.control.closing import left_open
from hsray.sweep.control.stopping import clear_stop, request_stop
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.jobs import Job
from tests.tiny import tiny_store


def experiment(**parts: Any) -> Experiment:
    content = {
        "name": "e", "task": "spectral", "axes": {"dataset": ["tiny"], "strategy": ["mlp"]},
        "search": {"lr": {"log": [1e-4, 1e-2]}}, "final": {"seeds": 2}, "budget": {"trials": 3, "epochs": 9},
    }  # fmt: skip
    return parse_experiment(content | parts)


@pytest.fixture
def found(tmp_path: Path) -> list[Cell]:
    tiny_store(tmp_path)
    return cells(experiment(), tmp_path)


def finish(job: Job, score: float = 0.5) -> None:
    metrics = {"val/jaccard_macro": score, "cost/seconds": 1.0, "cost/device_seconds": 1.0}
    append_epoch(job.folder, 0, metrics)
    (job.folder / "best.safetensors").write_bytes(b"weights")
    (job.folder / "last.pt").write_bytes(b"checkpoint")
    result = {"state": "COMPLETE", "reason": None, "metrics": metrics, "started": 0, "ended": 1, "artifacts": []}
    write_json(job.folder / "result.json", result)


def work_off(dispatcher: Dispatcher, scores: dict[int, float] | None = None) -> list[Job]:
    done = []
    while (job := dispatcher.next_job()) is not None:
        finish(job, (scores or {}).get(job.number, 0.5) if job.kind == "trial" else 0.5)
        dispatcher.ended(job)
        done.append(job)
    return done


def test_after_a_stop_nothing_is_handed_out_and_a_run_without_a_result_is_not_lost(
    found: list[Cell], tmp_path: Path
) -> None:
    dispatcher = Dispatcher(experiment(), found, tmp_path, tmp_path)
    first, second = dispatcher.next_job(), dispatcher.next_job()
    assert first is not None and second is not None
    request_stop(tmp_path, "Ctrl-C")
    assert dispatcher.next_job() is None
    finish(first)
    dispatcher.ended(first)
    dispatcher.ended(second)
    assert dispatcher.interrupted == [second] and not dispatcher.lost
    assert dispatcher.left == 4
    clear_stop(tmp_path)
    again = Dispatcher(experiment(), found, tmp_path, tmp_path).next_job()
    assert again is not None and (again.key, again.config) == (second.key, second.config)


@pytest.mark.parametrize(("first", "counts"), [("FAILED", "FAILED"), ("COMPLETE", "PRUNED"), (None, "PRUNED")])
def test_the_bracket_stops_a_run_that_ran_ahead_and_hides_no_failure(
    found: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, first: str | None, counts: str
) -> None:
    dispatcher = Dispatcher(experiment(), found, tmp_path, tmp_path)
    job = dispatcher.next_job()
    assert job is not None
    metrics = {"val/jaccard_macro": 0.1, "cost/seconds": 1.0}
    append_epoch(job.folder, 0, metrics)
    if first:
        write_json(job.folder / "result.json", {"state": first})
    monkeypatch.setattr(dispatcher.cells[job.cell].study, "report", lambda *told: True)
    assert dispatcher.epoch(job, 0, metrics)
    assert job.result is not None and job.result["state"] == counts


def test_runs_that_the_machine_failed_are_named_with_what_it_said(found: list[Cell], tmp_path: Path) -> None:
    dispatcher = Dispatcher(experiment(), found, tmp_path, tmp_path)
    jobs = [dispatcher.next_job() for _ in range(3)]
    for job in jobs[:2]:
        dispatcher.fault(job, "No space left on device")
    for job in jobs:
        dispatcher.ended(job)
    told = str(left_open(dispatcher, tmp_path))
    assert "2 runs: No space left on device" in told and "1 run: its process ended" in told
    assert "5 of 5 runs have not ended" in told and not dispatcher.interrupted


@pytest.mark.parametrize(("keep", "kept"), [("best", [1]), ("finals", []), ("all", [0, 1, 2])])
def test_weights_are_kept_by_the_rule_of_the_file(
    found: list[Cell], tmp_path: Path, keep: str, kept: list[int]
) -> None:
    dispatcher = Dispatcher(experiment(keep=keep), found, tmp_path, tmp_path)
    jobs = work_off(dispatcher, {0: 0.4, 1: 0.8, 2: 0.6})
    trials, finals = ([job for job in jobs if job.kind == kind] for kind in ("trial", "final"))
    assert [job.number for job in trials if (job.folder / "best.safetensors").exists()] == kept
    assert all((job.folder / "best.safetensors").exists() for job in finals) and len(finals) == 2
    assert not list(tmp_path.rglob("last.pt"))
    assert {job.keep_weights for job in trials} == {keep != "finals"}


def test_weights_that_a_dead_driver_left_are_taken_away_when_the_trials_have_ended(
    found: list[Cell], tmp_path: Path
) -> None:
    [first, *_] = work_off(Dispatcher(experiment(), found, tmp_path, tmp_path), {0: 0.1})
    (first.folder / "best.safetensors").write_bytes(b"it died before it took these away")
    Dispatcher(experiment(), found, tmp_path, tmp_path)
    assert not (first.folder / "best.safetensors").exists()
