"""Repeating a cell or a final: beside the first attempt, never over it; and what the words of a request mean."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hsray.errors import RequestError
from hsray.runlog import append_epoch
from hsray.sweep.cells import Cell, cells
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.jobs import Job
from hsray.sweep.redo import Attempts, final_seeds, named_cell, redo_cell, redo_finals
from hsray.training import SCORE
from tests.sweep.test_dispatcher import experiment, finish, work_off
from tests.tiny import tiny_store

AXES = {"dataset": ["tiny"], "strategy": ["mlp", "fc"], "fraction": [0.5, 1.0]}


@pytest.fixture
def found(tmp_path: Path) -> list[Cell]:
    tiny_store(tmp_path)
    return cells(experiment(axes=AXES), tmp_path)


def done_again(found: list[Cell], folder: Path, chosen=lambda finals: None) -> list[Job]:
    applied = Attempts.read(folder).applied(found)
    return work_off(Dispatcher(experiment(axes=AXES), applied, folder, folder, chosen=chosen))


def test_a_cell_is_named_by_enough_of_its_values(found: list[Cell]) -> None:
    assert named_cell(found, ["mlp", "0.5"], "e").axes == {"dataset": "tiny", "strategy": "mlp", "fraction": 0.5}
    assert named_cell(found, ["tiny  fc  1.0"], "e") == named_cell(found, ["strategy=fc,fraction=1.0"], "e")
    with pytest.raises(RequestError, match="means 2 cells") as several:
        named_cell(found, ["mlp"], "e")
    assert "tiny  mlp  0.5" in str(several.value) and "fc" not in str(several.value)
    with pytest.raises(RequestError, match="no cell 'unet'") as none:
        named_cell(found, ["unet"], "e")
    assert str(none.value).count("tiny  ") == 4


def test_a_value_that_is_a_part_of_another_means_itself(tmp_path: Path) -> None:
    tiny_store(tmp_path, "tiny")
    tiny_store(tmp_path, "tiny-2")
    both = cells(experiment(axes={"dataset": ["tiny", "tiny-2"], "strategy": ["mlp"]}), tmp_path)
    assert named_cell(both, ["tiny"], "e").store.name == "tiny"
    assert named_cell(both, ["2"], "e").store.name == "tiny-2"


def test_a_repeated_cell_has_trials_and_finals_of_its_own_and_the_old_ones_stay(
    found: list[Cell], tmp_path: Path
) -> None:
    before = done_again(found, tmp_path)
    files = {path: path.read_bytes() for path in (tmp_path / "cells").rglob("*.json")}
    cell = named_cell(found, ["mlp", "0.5"], "e")
    redo_cell(tmp_path, cell)
    told: dict[str, list[str]] = {}
    again = done_again(found, tmp_path, told.update)
    assert {job.cell for job in again} == {f"{cell.id}~2"}
    assert [job.kind for job in again].count("trial") == 3 and len(again) == 5
    assert not {job.key for job in again} & {job.key for job in before}
    assert told[f"{cell.id}~2"] == [job.key for job in again if job.kind == "final"]
    assert {path: path.read_bytes() for path in files} == files
    assert not done_again(found, tmp_path), "once"
    redo_cell(tmp_path, *[one for one in Attempts.read(tmp_path).applied(found) if one.attempt == 2])
    assert {job.cell for job in done_again(found, tmp_path)} == {f"{cell.id}~3"}


def states(folder: Path) -> dict[str, list[str]]:
    """The ledger's trials by study."""
    with sqlite3.connect(folder / "ledger.db") as ledger:
        rows = ledger.execute("SELECT study_name, state FROM trials JOIN studies USING (study_id) ORDER BY number")
        found: dict[str, list[str]] = {}
        for study, state in rows:
            found.setdefault(study, []).append(state)
    ledger.close()
    return found


def left_open(job: Job | None) -> Path:
    assert job is not None
    append_epoch(job.folder, 0, {SCORE: 0.5, "cost/seconds": 1.0})
    for name in ("last.pt", "previous.pt"):
        (job.folder / name).write_bytes(b"checkpoint")
    return job.folder


def test_a_repetition_closes_what_the_attempt_before_left_open(tmp_path: Path) -> None:
    tiny_store(tmp_path)
    plain = experiment()
    [cell] = cells(plain, tmp_path)
    first = Dispatcher(plain, [cell], tmp_path, tmp_path)
    finish(ended := first.next_job())
    first.ended(ended)
    open_trials = [left_open(first.next_job()) for _ in range(2)]
    kept = {path: path.read_bytes() for path in cell.folder(tmp_path).rglob("*") if path.suffix in (".json", ".jsonl")}
    redo_cell(tmp_path, cell)
    assert states(tmp_path) == {cell.id: ["COMPLETE", "RUNNING", "RUNNING"]}, "until the next sweep"
    [again] = Attempts.read(tmp_path).applied([cell])
    second = Dispatcher(plain, [again], tmp_path, tmp_path)
    assert states(tmp_path) == {cell.id: ["COMPLETE", "FAIL", "FAIL"]}
    assert not [path for folder in open_trials for path in folder.glob("*.pt")]
    assert {path: path.read_bytes() for path in kept} == kept
    mine = left_open(second.next_job())
    (tmp_path / "ledger.db").unlink()
    for log in tmp_path.glob("ledger.db-*"):
        log.unlink()
    rebuilt = Dispatcher(plain, [again], tmp_path, tmp_path)
    assert states(tmp_path) == {again.id: ["RUNNING"]}, "only that of the attempt that counts"
    taken_up = rebuilt.next_job()
    assert taken_up is not None and taken_up.folder == mine and (mine / "last.pt").exists()


def test_a_repeated_final_that_was_open_leaves_no_checkpoint(tmp_path: Path) -> None:
    tiny_store(tmp_path)
    plain = experiment()
    [cell] = cells(plain, tmp_path)
    first = Dispatcher(plain, [cell], tmp_path, tmp_path)
    for _ in range(3):
        finish(job := first.next_job())
        first.ended(job)
    finals = [left_open(first.next_job()) for _ in range(2)]
    redo_finals(tmp_path, cell, [1])
    [again] = Attempts.read(tmp_path).applied([cell])
    second = Dispatcher(plain, [again], tmp_path, tmp_path)
    assert [sorted(path.name for path in final.glob("*.pt")) for final in finals] == [["last.pt", "previous.pt"], []]
    assert (finals[1] / "epochs.jsonl").exists()
    repeated = [left_open(job) for job in iter(second.next_job, None)][1]
    assert repeated.name == f"{finals[1].name}~2"
    Dispatcher(plain, [again], tmp_path, tmp_path)
    assert (repeated / "last.pt").exists(), "the attempt that counts keeps its own"


def test_asking_twice_before_it_has_run_repeats_it_once(found: list[Cell], tmp_path: Path) -> None:
    done_again(found, tmp_path)
    for _ in range(2):
        redo_cell(tmp_path, named_cell(Attempts.read(tmp_path).applied(found), ["fc", "1.0"], "e"))
        redo_finals(tmp_path, named_cell(Attempts.read(tmp_path).applied(found), ["mlp", "1.0"], "e"), [0])
    attempts = Attempts.read(tmp_path)
    assert list(attempts.cells.values()) == [2] and list(attempts.finals.values()) == [{0: 2}]


def test_a_repeated_final_is_trained_again_with_the_same_configuration(found: list[Cell], tmp_path: Path) -> None:
    before = {job.key: job for job in done_again(found, tmp_path)}
    cell = named_cell(found, ["fc", "0.5"], "e")
    assert final_seeds(cell, tmp_path) == [0, 1]
    redo_finals(tmp_path, cell, [1])
    told: dict[str, list[str]] = {}
    [again] = done_again(found, tmp_path, told.update)
    old = before[again.key.removesuffix("~2")]
    assert (again.kind, again.number, again.attempt) == ("final", 1, 2)
    assert again.config == old.config and again.folder != old.folder and old.folder.is_dir()
    assert again.key in told[cell.id] and old.key not in told[cell.id] and len(told[cell.id]) == 2


def test_what_has_not_run_cannot_be_repeated(found: list[Cell], tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="nothing of this cell has run"):
        redo_cell(tmp_path, found[0])
    done_again(found, tmp_path)
    with pytest.raises(RequestError, match="no final of this cell has run under seed 7"):
        redo_finals(tmp_path, found[0], [0, 7])
    assert not (tmp_path / "redo.json").exists()


def test_a_damaged_note_of_attempts_is_named(found: list[Cell], tmp_path: Path) -> None:
    for content in ("{", '{"cells": {"x": "twice"}}', '{"version": 2}'):
        (tmp_path / "redo.json").write_text(content)
        with pytest.raises(RequestError, match="attempts asked for cannot be read"):
            Attempts.read(tmp_path)
