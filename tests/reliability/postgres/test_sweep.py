"""Whole sweeps with the ledger and MLflow on one PostgreSQL: the driver is killed, the server is killed."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from hsray.leaderboard import render, table
from hsray.leaderboard.runs import load
from hsray.runlog import read_epochs
from tests.reliability.checks import COSTS
from tests.reliability.postgres.server import PASSWORD, Postgres
from tests.reliability.postgres.test_ledger import states
from tests.reliability.scene import CELLS, NAME, SEEDS, TRIALS, Scene
from tests.tracking.stores import history, runs_of

PATIENCE_S = 600
Make = Callable[[str], str]


@contextmanager
def scene(folder: Path, database: Make) -> Iterator[Scene]:
    ledger = database("ledger")
    made = Scene(folder, "one", database("mlflow"), environment={"HSRAY_LEDGER": ledger})
    try:
        yield made
    finally:
        made.close()


def rows(scene: Scene) -> list[dict[str, Any]]:
    found = json.loads(render(table(load(NAME, scene.uri)), "json"))["rows"]
    return [{name: value for name, value in row.items() if name not in COSTS} for row in found]


def until_ended(scene: Scene, runs: int) -> None:
    end = time.monotonic() + PATIENCE_S
    while len(scene.results()) < runs:
        assert scene.commands[-1].running and time.monotonic() < end, scene.commands[-1].said
        time.sleep(0.02)


def is_whole(scene: Scene) -> None:
    """Every trial and final once, in folders, ledger and MLflow, with all its epochs."""
    assert len(scene.results()) == CELLS * (TRIALS + SEEDS)
    ledger = states(scene.environment["HSRAY_LEDGER"])
    assert [len(trials) for trials in ledger.values()] == [TRIALS] * CELLS
    assert not {state for trials in ledger.values() for state in trials} - {"COMPLETE", "PRUNED"}
    assert not (scene.sweep / "ledger.db").exists()
    runs = {run.data.tags["hsray.key"]: run for run in runs_of(scene.uri, NAME)}
    assert len(runs) == len(runs_of(scene.uri, NAME)) == CELLS * (TRIALS + SEEDS)
    for result in scene.results():
        run = runs[json.loads((result.parent / "spec.json").read_text())["key"]]
        assert run.info.status == "FINISHED"
        logged = {step for step, _ in history(scene.uri, run, "train/loss")}
        assert logged == {record["epoch"] for record in read_epochs(result.parent)}
    said = "".join(command.said for command in scene.commands)
    assert "Traceback" not in said and PASSWORD not in said
    assert not any(PASSWORD in path.read_text(errors="replace") for path in scene.sweep.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def undisturbed(postgres: Postgres, tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, Any]]:
    with scene(tmp_path_factory.mktemp("undisturbed"), lambda name: postgres.create(f"undisturbed_{name}")) as found:
        command = found.start()
        assert command.wait(PATIENCE_S) == 0, command.said
        is_whole(found)
        return rows(found)


def test_the_driver_is_killed_in_the_middle(undisturbed: list[Any], tmp_path: Path, database: Make) -> None:
    with scene(tmp_path, database) as found:
        for ended in (1, 4, 7):
            command = found.start()
            until_ended(found, ended)
            command.signal(signal.SIGKILL)
            assert command.wait(PATIENCE_S) == -signal.SIGKILL
        command = found.start()
        assert command.wait(PATIENCE_S) == 0, command.said
        is_whole(found)
        assert rows(found) == undisturbed


def test_the_server_is_killed_and_comes_back(
    undisturbed: list[Any], tmp_path: Path, database: Make, postgres: Postgres
) -> None:
    with scene(tmp_path, database) as found:
        command = found.start()
        for ended in (2, 6):
            until_ended(found, ended)
            postgres.stop()
            time.sleep(5)
            postgres.start()
        assert command.wait(PATIENCE_S) == 0, command.said
        assert "the ledger's database does not answer" in command.said
        assert "the ledger's database answers again" in command.said
        is_whole(found)
        assert rows(found) == undisturbed
