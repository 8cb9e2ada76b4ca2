"""Runs that stand RUNNING though nobody runs them are closed, once, and a living sweep's are not touched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hsray.commands.doctor import examine
from hsray.sweep.control.lock import only_driver
from hsray.tracking import Tracker
from hsray.tracking.client import open_client
from tests.tracking.folders import FakeRun
from tests.tracking.stores import runs_of


def statuses(uri: str, experiment: str = "demo") -> dict[str, str]:
    return {run.data.tags["hsray.key"]: run.info.status for run in runs_of(uri, experiment)}


def opened(uri: str, key: str, experiment: str = "demo") -> str:
    """As a driver that was killed left it."""
    client = open_client(uri, to_write=True)
    found = client.get_experiment_by_name(experiment)
    place = found.experiment_id if found else client.create_experiment(experiment)
    return client.create_run(place, tags={"hsray.key": key}, run_name=key).info.run_id


def test_orphans_are_closed_and_open_again_when_taken_up(
    uri: str, sweep_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mine = FakeRun(sweep_dir).start().epochs(0, 2)
    opened(uri, mine.key)
    opened(uri, "no folder")
    opened(uri, "another's", "elsewhere")
    someone = open_client(uri).create_experiment("notes")
    open_client(uri).create_run(someone, run_name="no run of hsray's")

    def look(*delete: str, fix: bool = False) -> tuple[int, list[tuple[str, str]]]:
        data, runs = sweep_dir.parents[1] / "data", sweep_dir.parent
        code = examine(data, runs, uri, fix=fix, delete=list(delete), format="json")
        found = json.loads(capsys.readouterr().out)["findings"]
        return code, sorted((one["finding"], one["state"]) for one in found if one["finding"] != "stale trials")

    with only_driver(sweep_dir, "demo"):
        assert look(fix=True) == (1, [("runs from elsewhere", "asks first")])
    assert set(statuses(uri).values()) == {"RUNNING"}
    assert look()[1].count(("orphaned run", "safe to mend")) == 2
    assert look(fix=True) == (1, [("orphaned run", "done")] * 2 + [("runs from elsewhere", "asks first")])
    assert set(statuses(uri).values()) == {"KILLED"} and statuses(uri, "elsewhere") == {"another's": "RUNNING"}
    assert look("elsewhere") == (0, [("runs from elsewhere", "done")])
    assert look() == (0, [])
    tracker = Tracker(uri, "demo")
    mine.epochs(2, 4).end()
    tracker.note(mine.folder)
    assert tracker.flush(20) == 0 and tracker.close() == 0
    assert statuses(uri)[mine.key] == "FINISHED" and len(statuses(uri)) == 2


def test_an_mlflow_that_does_not_answer_is_a_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    uri = "http://user:secret@127.0.0.1:9"
    assert examine(tmp_path, tmp_path, uri, fix=True, delete=[], format="table") == 1
    told = capsys.readouterr().out
    assert "does not answer" in told and "secret" not in told
