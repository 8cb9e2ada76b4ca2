"""Runs that stand RUNNING though nobody runs them are closed, once, and a living sweep's are not touched."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from hsray.commands.doctor import examine
from hsray.errors import RequestError
from hsray.experiment import load_experiment
from hsray.sweep.control.lock import only_driver
from hsray.sweep.ledger.identity import sweep_id
from hsray.sweep.run import sweep
from hsray.tracking import Owner, Tracker
from hsray.tracking.client import open_client
from hsray.tracking.owner import place_of
from tests.sweep.sweeps import write_experiment
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


def test_a_sweep_of_the_same_name_in_another_folder_keeps_its_runs(
    uri: str, sweep_dir: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Refused while the other has runs under way; its runs are closed from its own folder, or when they are named."""
    theirs = FakeRun(tmp_path / "other" / "demo").start().epochs(0, 1)
    other = owner_of(theirs.sweep_dir)
    began = started(uri, theirs.sweep_dir, other)
    mine = owner_of(sweep_dir)
    with pytest.raises(RequestError, match="'demo' has runs under way") as refused:
        Tracker(uri, "demo").refuse_others(mine)
    assert refused.value.where == f"{socket.gethostname()}:{theirs.sweep_dir}"
    started(uri, sweep_dir, mine).close()  # both looked before either had begun
    assert statuses(uri) == {theirs.key: "RUNNING"}
    Tracker(uri, "demo").refuse_others(other)

    def look(runs: Path, *delete: str, fix: bool = False) -> list[tuple[str, str, str]]:
        examine(tmp_path / "data", runs, uri, fix=fix, delete=list(delete), format="json")
        found = json.loads(capsys.readouterr().out)["findings"]
        return [(one["finding"], one["name"], one["state"]) for one in found if one["finding"] != "stale trials"]

    assert look(sweep_dir.parent, fix=True) == [("runs from elsewhere", "demo", "asks first")]
    assert statuses(uri) == {theirs.key: "RUNNING"}
    moved = theirs.sweep_dir.parent.rename(tmp_path / "moved")
    assert look(moved) == [("orphaned run", "demo: runet trial 0", "safe to mend")]
    assert look(sweep_dir.parent, "demo") == [("runs from elsewhere", "demo", "done")]
    assert statuses(uri) == {theirs.key: "KILLED"}
    Tracker(uri, "demo").refuse_others(mine)
    started(uri, sweep_dir, mine).close()
    assert Owner.named_by(open_client(uri).get_experiment_by_name("demo")) == mine
    began.close()


def test_a_sweep_is_refused_before_it_writes_anything(uri: str, tmp_path: Path) -> None:
    opened(uri, "theirs", "tiny-sweep")
    client = open_client(uri)
    found = client.get_experiment_by_name("tiny-sweep")
    assert found is not None
    Owner("another", "node2:/scratch/runs/tiny-sweep").tag(client, found.experiment_id)
    experiment = load_experiment(write_experiment(tmp_path))
    with pytest.raises(RequestError) as refused:
        sweep(experiment, data_root=tmp_path / "data", runs_root=tmp_path / "runs", tracking_uri=uri)
    assert refused.value.where == "node2:/scratch/runs/tiny-sweep" and "--delete tiny-sweep" in str(refused.value.do)
    assert not (tmp_path / "runs").exists()
    assert statuses(uri, "tiny-sweep") == {"theirs": "RUNNING"}


def test_a_folder_that_was_deleted_or_moved_after_a_kill_is_no_other(uri: str, sweep_dir: Path, tmp_path: Path) -> None:
    first = owner_of(sweep_dir)
    lost = FakeRun(sweep_dir).start().epochs(0, 1)
    killed = started(uri, sweep_dir, first)
    moved = owner_of(sweep_dir.rename(tmp_path / "demo"))
    assert moved.id == first.id and moved.at != first.at
    Tracker(uri, "demo").refuse_others(moved)
    sweep_dir.mkdir()
    anew = owner_of(sweep_dir)
    assert anew.id != first.id
    Tracker(uri, "demo").refuse_others(anew)
    started(uri, sweep_dir, anew).close()
    assert statuses(uri) == {lost.key: "KILLED"}
    killed.close()


def test_a_spoilt_id_is_a_bad_request(sweep_dir: Path) -> None:
    for content in ("{", "[]", '{"format": 1}'):
        (sweep_dir / "ledger.json").write_text(content)
        with pytest.raises(RequestError, match="id cannot be read"):
            sweep_id(sweep_dir)
        assert (sweep_dir / "ledger.json").read_text() == content


def owner_of(folder: Path) -> Owner:
    return Owner(sweep_id(folder), place_of(folder))


def started(uri: str, folder: Path, owner: Owner) -> Tracker:
    """A driver that has begun, with the runs of its folder under way."""
    tracker = Tracker(uri, "demo")
    tracker.reconcile(folder, owner)
    assert tracker.flush(20) == 0
    return tracker
