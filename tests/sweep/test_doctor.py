"""What killed processes leave is found, and mended or left as asked. Nothing is deleted without being told."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hsray.commands.doctor import examine
from hsray.datasets import open_store
from hsray.errors import RequestError
from hsray.sweep.control.lock import only_driver
from tests.datasets.test_own_data import scene
from tests.tiny import tiny_store
from tests.tracking.folders import FakeRun

SLOW_PREPARE = """
import sys, time
from pathlib import Path
from hsray.datasets.prepare import prepare
from hsray.datasets.own import own_source, read_description
source = own_source(read_description(Path(sys.argv[1])), Path(sys.argv[1]).parent)
read = source.read
def slow(split, image):
    print(image, flush=True)
    time.sleep(0.05)
    return read(split, image)
source.read = slow
prepare(source, None, Path(sys.argv[2]))
"""


class Place:
    """A data folder, a runs folder, and no MLflow."""

    def __init__(self, root: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.data, self.runs, self.uri = root / "data", root / "runs", f"sqlite:///{root}/mlflow.db"
        self.sweep = self.runs / "demo"
        (self.sweep / "cells").mkdir(parents=True)
        self.data.mkdir()
        self._capsys = capsys

    def look(self, *delete: str, fix: bool = False) -> tuple[int, dict[str, str]]:
        """The exit code, and the state of every finding by kind and name."""
        code = examine(self.data, self.runs, self.uri, fix=fix, delete=list(delete), format="json")
        told = json.loads(self._capsys.readouterr().out)
        return code, {f"{one['finding']} {one['name']}": one["state"] for one in told["findings"]}


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Place:
    return Place(tmp_path, capsys)


def test_a_healthy_place(place: Place) -> None:
    tiny_store(place.data)
    FakeRun(place.sweep).start().end()
    before = sorted(place.runs.parent.rglob("*"))
    assert place.look(fix=True) == (0, {})
    assert sorted(place.runs.parent.rglob("*")) == before


def test_leftovers_are_taken_away_and_nothing_else(place: Place) -> None:
    whole = FakeRun(place.sweep, number=0).start().end()
    (place.sweep / ".tune-abc" / "x").mkdir(parents=True)
    (place.sweep / ".preflight-abc").mkdir()
    (whole.folder / ".last.pt.4242").write_bytes(b"half")
    (whole.folder / "best.safetensors").write_bytes(b"weights")
    (whole.folder.parent / "trial-0001").mkdir()
    code, found = place.look()
    assert code == 1 and set(found.values()) == {"safe to mend"} and len(found) == 4
    code, found = place.look(fix=True)
    assert code == 0 and set(found.values()) == {"done"}
    assert {path.name for path in whole.folder.iterdir()} == {"spec.json", "result.json", "best.safetensors"}
    assert place.look() == (0, {})


def test_open_trials_wait_for_the_next_sweep(place: Place) -> None:
    mine = FakeRun(place.sweep, number=0).start().epochs(0, 3)
    gone = FakeRun(place.sweep, number=0, strategy="hypersl").start()
    (place.sweep / "cells.json").write_text(json.dumps([{"cell": mine.cell, "axes": mine.axes}]))
    with sqlite3.connect(place.sweep / "ledger.db") as ledger:
        ledger.execute("CREATE TABLE studies (study_id, study_name)")
        ledger.execute("CREATE TABLE trials (number, study_id, state)")
        ledger.execute("INSERT INTO studies VALUES (1, ?)", (mine.cell,))
        ledger.executemany("INSERT INTO trials VALUES (?, 1, ?)", [(0, "RUNNING"), (7, "RUNNING"), (8, "COMPLETE")])
    examine(place.data, place.runs, place.uri, fix=True, delete=[], format="json")
    told = json.loads(place._capsys.readouterr().out)
    first, second = (one["what"] for one in told["findings"])
    assert "2; the next `hsray sweep` goes on" in first and mine.cell in first
    assert "1; of cells that are not in the experiment any more" in second and gone.cell in second
    assert [one["state"] for one in told["findings"]] == ["mends itself", "kept"]
    assert told["left"] == 0 and (gone.folder / "spec.json").exists()


def test_an_unreadable_run_is_deleted_when_it_is_named(place: Place) -> None:
    broken, whole = FakeRun(place.sweep, number=0).start(), FakeRun(place.sweep, number=1).start().end()
    (broken.folder / "spec.json").write_text('{"key": ')
    name = f"demo/cells/{broken.cell}/trial-0000"
    assert place.look(fix=True) == (1, {f"unreadable run {name}": "asks first"})
    assert broken.folder.is_dir()
    with pytest.raises(RequestError, match="nothing to delete called 'demo/cells/x'"):
        place.look("demo/cells/x")
    assert place.look(name) == (0, {f"unreadable run {name}": "done"})
    assert not broken.folder.exists() and whole.folder.is_dir()


def test_a_broken_ledger_is_named_and_left_to_the_sweep(place: Place) -> None:
    (place.sweep / "ledger.db").write_bytes(b"no database at all" * 100)
    (place.sweep / "ledger.db.broken-20260101T000000Z").write_bytes(b"x" * 10)
    code, found = place.look(fix=True)
    assert code == 0 and set(found.values()) == {"mends itself", "kept"} and len(found) == 2
    code, found = place.look("demo/ledger.db.broken-20260101T000000Z")
    assert found["ledger put aside demo/ledger.db.broken-20260101T000000Z"] == "done"
    assert (place.sweep / "ledger.db").exists()


def test_a_sweep_that_runs_is_left_alone(place: Place) -> None:
    (place.sweep / ".tune-abc").mkdir()
    broken = FakeRun(place.sweep).start()
    (broken.folder / "spec.json").write_text("")
    with only_driver(place.sweep, "demo"):
        assert place.look(fix=True) == (0, {})
        with pytest.raises(RequestError, match="'demo' runs now"):
            place.look(f"demo/cells/{broken.cell}/trial-0000")
    assert (place.sweep / ".tune-abc").is_dir() and broken.folder.is_dir()


def test_a_killed_preparation_is_kept_until_it_is_named(place: Place, tmp_path: Path) -> None:
    path, cube_HWC, _ = scene(tmp_path)
    np.save(tmp_path / "cube.npy", cube_HWC)
    command = [sys.executable, "-c", SLOW_PREPARE, str(path), str(place.data)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert process.stdout is not None
    for _ in range(5):
        process.stdout.readline()
    assert place.look() == (0, {}), "it is being written"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert place.look(fix=True) == (1, {"half-written dataset field.partial": "asks first"})
    assert place.look("field.partial") == (0, {"half-written dataset field.partial": "done"})
    assert not list(place.data.iterdir())


def test_a_dataset_that_was_killed_before_it_got_its_name(place: Place) -> None:
    """All is written and checked: it gets its name. One that does not hold what it should stays half-written."""
    store = tiny_store(place.data)
    whole = store.fingerprint
    shutil.copytree(store.path, place.data / "tiny.partial")
    shutil.rmtree(store.path)
    broken = Path(shutil.copytree(place.data / "tiny.partial", place.data / "broken.partial"))
    (broken / "tiny_val.h5").unlink()
    code, found = place.look(fix=True)
    assert found["unnamed dataset tiny.partial"] == "done"
    assert code == 1 and found["half-written dataset broken.partial"] == "asks first"
    assert open_store("tiny", place.data).fingerprint == whole


def test_a_replacement_that_was_killed_between_two_steps(place: Place) -> None:
    store = tiny_store(place.data)
    store.path.rename(place.data / "tiny.old")
    assert place.look(fix=True) == (0, {"dataset put aside tiny.old": "done"})
    assert open_store("tiny", place.data).fingerprint == store.fingerprint
    shutil.copytree(place.data / "tiny", place.data / "tiny.old")
    assert place.look(fix=True) == (1, {"replaced dataset tiny.old": "asks first"})
    assert place.look("tiny.old")[0] == 0 and not (place.data / "tiny.old").exists()


def test_features_of_data_or_weights_that_are_gone(place: Place) -> None:
    from hsray.strategies.features import ensure_features
    from hsray.strategies.strategy import strategy

    store = tiny_store(place.data, images={"train": 1, "val": 1, "test": 1}, size=(4, 4))
    shipped = Path(ensure_features(store, strategy("hypersl-frozen"), place.data / ".features").path).name
    half = place.data / ".features" / "tiny-hypersl-0000.partial"
    shutil.copytree(place.data / ".features" / shipped, half)
    assert place.look(fix=True)[1] == {"dangling features tiny-hypersl-0000": "asks first"}
    assert place.look("tiny-hypersl-0000")[0] == 0 and not half.exists()
    shutil.rmtree(store.path)
    tiny_store(place.data, seed=5)
    with only_driver(place.sweep, "demo"):  # it may know the dataset by a path
        assert place.look(fix=True) == (0, {f"dangling features {shipped}": "kept"})
        with pytest.raises(RequestError, match="nothing to delete"):
            place.look(shipped)
    assert place.look() == (1, {f"dangling features {shipped}": "asks first"})
    assert place.look(shipped)[0] == 0 and not (place.data / ".features" / shipped).exists()
