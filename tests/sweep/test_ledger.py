"""The ledger: up to N in all, brackets of their own, nothing forgotten when the driver dies."""

from __future__ import annotations

import dataclasses
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from hsray.experiment import Budget, parse_experiment
from hsray.runlog import append_epoch, write_json
from hsray.sweep.cells import Cell, cells
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.jobs import Job
from hsray.sweep.ledger.database import open_ledger
from hsray.sweep.ledger.studies import CellStudy
from tests.tiny import tiny_store


def experiment(**parts: Any):
    content = {
        "name": "e", "task": "spectral", "axes": {"dataset": ["tiny"], "strategy": ["mlp"], "fraction": [0.5, 1.0]},
        "search": {"lr": {"log": [1e-4, 1e-2]}}, "final": {"seeds": 2},
        "budget": {"trials": 4, "epochs": 9, "grace": 1},
    }  # fmt: skip
    return parse_experiment(content | parts)


@pytest.fixture
def cell(tmp_path: Path) -> Cell:
    tiny_store(tmp_path)
    return cells(experiment(), tmp_path)[0]


def reopened(cell: Cell, tmp_path: Path, trials: int = 4) -> CellStudy:
    return CellStudy(cell, open_ledger(tmp_path), Budget(trials=trials, epochs=9, grace=1))


def test_trials_means_up_to_n_in_all(cell: Cell, tmp_path: Path) -> None:
    study = reopened(cell, tmp_path)
    for _ in range(3):
        number, _ = study.ask()
        study.tell(number, "COMPLETE", 0.5)
    again = reopened(cell, tmp_path)
    assert again.ask()[0] == 3
    assert again.ask() is None
    assert reopened(cell, tmp_path, trials=6).planned == 6


def test_an_interrupted_trial_comes_back_under_its_number_with_its_values(cell: Cell, tmp_path: Path) -> None:
    number, values = reopened(cell, tmp_path).ask()
    again = reopened(cell, tmp_path)
    assert again.ask() == (number, values)
    again.tell(number, "COMPLETE", 0.7)
    assert again.best().number == number


def test_suggestions_depend_on_what_was_told_and_on_nothing_else(cell: Cell, tmp_path: Path) -> None:
    def drawn(path: Path) -> list[dict[str, Any]]:
        path.mkdir()
        study, values = reopened(cell, path, 14), []
        for i in range(14):
            if i == 7:
                study = reopened(cell, path, 14)
            number, sampled = study.ask()
            values.append(sampled)
            study.tell(number, "COMPLETE", sampled["lr"])
        return values

    assert drawn(tmp_path / "a") == drawn(tmp_path / "b")


def test_the_bracket_stops_the_worse_and_survives_the_driver(cell: Cell, tmp_path: Path) -> None:
    study = reopened(cell, tmp_path, 9)
    for score in (0.9, 0.8, 0.7):
        number, _ = study.ask()
        study.report(number, 0, score)
        study.tell(number, "COMPLETE", score)
    again = reopened(cell, tmp_path, 9)
    worse, _ = again.ask()
    assert again.report(worse, 0, 0.1)
    again.tell(worse, "PRUNED", None)
    better, _ = again.ask()
    assert not again.report(better, 0, 0.95)
    trial = again.study.trials[worse]
    assert trial.state == TrialState.PRUNED and trial.intermediate_values == {1: 0.1}


def test_a_searched_fraction_has_two_objectives(tmp_path: Path) -> None:
    tiny_store(tmp_path)
    found = experiment(
        axes={"dataset": ["tiny"], "strategy": ["mlp"]},
        search={"fraction": {"choice": [0.34, 1.0]}, "lr": {"log": [1e-4, 1e-2]}},
    )
    [one] = cells(found, tmp_path)
    study = reopened(one, tmp_path)
    number, values = study.ask()
    assert one.config(values, seed=0).fraction == values["fraction"]
    assert not study.report(number, 0, 0.1), "there is no bracket"
    study.tell(number, "COMPLETE", 0.6, 2)
    assert [direction.name for direction in study.study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert study.study.best_trials[0].values == [0.6, 2.0]


def finish(job, score: float, state: str = "COMPLETE", reason: str | None = None) -> None:
    append_epoch(job.folder, 0, {"val/jaccard_macro": score, "cost/seconds": 1.0})
    ended(job, state, score, reason)


def ended(job: Job, state: str, score: float, reason: str | None = None) -> None:
    metrics = {"val/jaccard_macro": score, "cost/seconds": 1.0}
    write_json(
        job.folder / "result.json", {"state": state, "reason": reason, "metrics": metrics, "started": 0, "ended": 1}
    )


def test_the_best_configuration_is_trained_again_under_every_seed(tmp_path: Path) -> None:
    tiny_store(tmp_path)
    found = experiment()
    dispatcher = Dispatcher(found, cells(found, tmp_path), tmp_path, tmp_path)
    seen = []
    while (job := dispatcher.next_job()) is not None:
        seen.append(job)
        finish(job, score=0.1 * job.number)
        dispatcher.ended(job)
    trials, finals = ([job for job in seen if job.kind == kind] for kind in ("trial", "final"))
    assert len(trials) == 2 * 4 and len(finals) == 2 * 2
    assert [job.cell for job in trials[:2]] == list(dispatcher.cells), "trials go round the cells"
    for final in finals:
        best = next(job for job in trials if job.cell == final.cell and job.number == 3)
        assert final.config.training == best.config.training
        assert final.config.test and not best.config.test and final.config.seed == final.number
    more = experiment(final={"seeds": 3})
    later = Dispatcher(more, cells(more, tmp_path), tmp_path, tmp_path)
    added = [later.next_job(), later.next_job()]
    assert [(job.kind, job.number) for job in added] == [("final", 2)] * 2, "an added seed is added, nothing else"


def test_failures_count_and_a_cell_without_a_complete_trial_has_no_finals(tmp_path: Path) -> None:
    tiny_store(tmp_path)
    found = experiment(axes={"dataset": ["tiny"], "strategy": ["mlp"]})
    dispatcher = Dispatcher(found, cells(found, tmp_path), tmp_path, tmp_path)
    count = 0
    while (job := dispatcher.next_job()) is not None:
        count += 1
        finish(job, 0.0, "FAILED", "the training loss is nan")
        dispatcher.ended(job)
    [state] = dispatcher.cells.values()
    assert count == 4 and state.finals_done == 0
    assert state.failures[0] == "trial 0: the training loss is nan"
    assert state.study.counts() == {"FAIL": 4}


def test_what_ended_while_the_driver_was_dead_is_told_and_not_run_again(tmp_path: Path) -> None:
    tiny_store(tmp_path)
    found = experiment(axes={"dataset": ["tiny"], "strategy": ["mlp"]})
    first = Dispatcher(found, cells(found, tmp_path), tmp_path, tmp_path)
    job = first.next_job()
    finish(job, 0.4)
    second = Dispatcher(found, cells(found, tmp_path), tmp_path, tmp_path)
    handed = second.next_job()
    assert handed.number == 1
    [state] = second.cells.values()
    assert state.study.best().number == 0


def test_a_write_whose_answer_was_lost_is_not_doubled(
    cell: Cell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = reopened(cell, tmp_path)
    dialect, lost = study.ledger.engine.dialect, [True]
    commit = dialect.do_commit

    def committed(connection: Any) -> None:
        commit(connection)
        if lost and lost.pop():
            raise sqlite3.OperationalError("the connection is gone")

    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    monkeypatch.setattr(dialect, "do_commit", committed)
    number, values = study.ask()
    again = reopened(cell, tmp_path)
    assert again.asked == 1 and again.interrupted == [number] and not lost
    assert again.ask() == (number, values)


def test_a_second_attempt_at_a_cell_has_a_study_of_its_own_and_the_seeds_of_the_first(
    cell: Cell, tmp_path: Path
) -> None:
    again = dataclasses.replace(cell, attempt=2)
    assert again.id == f"{cell.id}~2"
    first, second = reopened(cell, tmp_path).ask(), reopened(again, tmp_path).ask()
    assert first == second and reopened(again, tmp_path).asked == 1


def test_a_folder_whose_name_looks_like_a_template(cell: Cell, tmp_path: Path) -> None:
    folder = tmp_path / "{a} 100%?#b"
    folder.mkdir()
    reopened(cell, folder).ask()
    assert (folder / "ledger.db").exists() and reopened(cell, folder).asked == 1


def logged(job: Job, scores: list[float]) -> None:
    for epoch, score in enumerate(scores):
        append_epoch(job.folder, epoch, {"val/jaccard_macro": score, "cost/seconds": 1.0 + epoch})


def test_what_workers_did_while_the_driver_was_dead_is_decided_and_noted(tmp_path: Path) -> None:
    """Several workers do not wait for the driver: they log on, past a rung and to the end."""
    tiny_store(tmp_path)
    found = experiment(axes={"dataset": ["tiny"], "strategy": ["mlp"]})
    first = Dispatcher(found, cells(found, tmp_path), tmp_path, tmp_path)
    good = first.next_job()
    for epoch in range(9):
        logged_so_far = {"val/jaccard_macro": 0.5 + epoch / 100, "cost/seconds": 1.0}
        append_epoch(good.folder, epoch, logged_so_far)
        first.epoch(good, epoch, logged_so_far)
    finish(good, 0.6)
    first.ended(good)
    worse = first.next_job()
    logged(worse, [0.1, 0.9, 0.9])
    ended(worse, "COMPLETE", 0.9)
    second = Dispatcher(found, cells(found, tmp_path), tmp_path, tmp_path)
    better = second.next_job()
    stopped = second.cells[worse.cell].study.study.trials[worse.number]
    assert (stopped.state.name, stopped.intermediate_values) == ("PRUNED", {1: 0.1})
    assert worse.result["epochs"] == 1 and worse.result["metrics"]["val/jaccard_macro"] == 0.1
    logged(better, [0.95, 0.96])
    ended(better, "FAILED", 0.96)
    third = Dispatcher(found, cells(found, tmp_path), tmp_path, tmp_path)
    third.next_job()
    failed = third.cells[worse.cell].study.study.trials[better.number]
    assert (failed.state.name, failed.intermediate_values) == ("FAIL", {1: 0.95, 2: 0.96})
