"""Repeating a cell or a final: beside the first attempt, never over it; and what the words of a request mean."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsray.errors import RequestError
from hsray.sweep.cells import Cell, cells
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.jobs import Job
from hsray.sweep.redo import Attempts, final_seeds, named_cell, redo_cell, redo_finals
from tests.sweep.test_dispatcher import experiment, work_off
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
