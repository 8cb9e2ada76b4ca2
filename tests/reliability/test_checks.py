"""The chaos driver's checks see harm: each is done by hand to a copy of a sweep that is as it should be."""

from __future__ import annotations

import json
import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from hsray.runlog import append_epoch, read_epochs, write_json
from tests.reliability.checks import Expected, Findings, check
from tests.reliability.scene import Scene
from tests.reliability.watch import Watch

COLUMNS = ("lost", "doubled", "orphaned", "epochs_lost")


def _first(scene: Scene, kind: str) -> Path:
    return next(path.parent for path in scene.results() if path.parent.name.startswith(kind))


def _in_mlflow(scene: Scene, statement: str) -> None:
    with sqlite3.connect(scene.store) as store:
        store.execute(statement)


def _in_ledger(scene: Scene, statement: str) -> None:
    with sqlite3.connect(scene.sweep / "ledger.db") as ledger:
        ledger.execute(statement)


def _final_missing(scene: Scene) -> None:
    shutil.rmtree(_first(scene, "final"))


def _other_score(scene: Scene) -> None:
    path = _first(scene, "final") / "result.json"
    result = json.loads(path.read_text())
    result["metrics"]["test/jaccard_macro"] += 1e-12
    write_json(path, result)


HARMS: dict[str, tuple[Callable[[Scene], None], str]] = {
    "a final is missing": (_final_missing, "lost"),
    "a run is not closed": (lambda s: _in_mlflow(s, "update runs set status = 'RUNNING' where rowid = 1"), "orphaned"),
    "two runs have a key": (
        lambda s: _in_mlflow(
            s,
            "update tags set value = (select min(value) from tags where key = 'hsray.key') "
            "where key = 'hsray.key' and value = (select max(value) from tags where key = 'hsray.key')",
        ),
        "doubled",
    ),
    "an epoch is not in MLflow": (
        lambda s: _in_mlflow(s, "delete from metrics where key = 'train/loss' and step = 2"),
        "epochs_lost",
    ),
    "a trial is open in the ledger": (
        lambda s: _in_ledger(s, "update trials set state = 'RUNNING' where trial_id = 1"),
        "orphaned",
    ),
    "a trial is not in the ledger": (lambda s: _in_ledger(s, "delete from trials where trial_id = 1"), "lost"),
    "an epoch is logged twice": (
        lambda s: append_epoch(_first(s, "trial"), 0, read_epochs(_first(s, "trial"))[0]["metrics"]),
        "epochs_lost",
    ),
}


@pytest.fixture
def scene(expected: Expected, undisturbed_folder: Path, tmp_path: Path) -> Scene:
    shutil.copytree(undisturbed_folder / "one", tmp_path / "one")
    return Scene(tmp_path / "one", "one")


def _check(scene: Scene, expected: Expected) -> Findings:
    return check(scene, Watch(scene.sweep), expected)


def test_a_sweep_as_it_should_be_is_found_so(scene: Scene, expected: Expected) -> None:
    assert _check(scene, expected).clean


@pytest.mark.parametrize("harm", HARMS)
def test_harm_is_seen_in_its_column(harm: str, scene: Scene, expected: Expected) -> None:
    harmful, column = HARMS[harm]
    harmful(scene)
    found = _check(scene, expected)
    assert getattr(found, column) > 0, found.words
    assert not found.clean


def test_a_score_that_differs_in_the_last_digit_spoils_the_table(scene: Scene, expected: Expected) -> None:
    _other_score(scene)
    assert not _check(scene, expected).table


def test_a_row_that_differs_spoils_the_table(scene: Scene, expected: Expected) -> None:
    _in_mlflow(scene, "update latest_metrics set value = value * 1.0000001 where key = 'test/accuracy_micro'")
    found = _check(scene, expected)
    assert not found.table and any("accuracy_micro" in words for words in found.words)


def test_epochs_trained_again_are_seen_only_where_a_checkpoint_held_them(tmp_path: Path) -> None:
    watch, now = Watch(tmp_path), time.time()
    watch.logged["cell/trial"] = {(0, now), (1, now + 1), (2, now + 2), (2, now + 5)}
    watch.saved["cell/trial"] = {(2, now + 1.5)}
    assert watch.repeated() == 1 and watch.lost() == []
    watch.logged["cell/trial"].add((1, now + 4))
    assert len(watch.lost()) == 1
