"""Run folders and their copies in a store; pyarrow's local file system stands for the store."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsray.errors import HsrayError, MachineFault, RequestError
from hsray.storage import attached, home, local_checkpoint, local_runs, reported
from hsray.storage.address import file_system
from hsray.storage.address import scratch as scratch_folder
from hsray.storage.claim import Claim
from hsray.storage.driver import StoredHome
from hsray.storage.mirror import Mirror
from hsray.storage.store import Store

RUN = "cells/dataset=tiny@0123/trial-0000"


@pytest.fixture(autouse=True)
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HSRAY_SCRATCH", str(tmp_path / "scratch"))
    return tmp_path / "scratch"


@pytest.fixture
def store(tmp_path: Path) -> Store:
    (tmp_path / "store").mkdir()
    return Store((tmp_path / "store").as_uri(), patience=0.0)


def quiet(line: str) -> None:
    pass


def open_home(store: Store, monkeypatch: pytest.MonkeyPatch, machine: str) -> StoredHome:
    """A driver's folder on a machine of this name."""
    root = Path(file_system(store.uri)[1]).parent
    monkeypatch.setenv("HSRAY_SCRATCH", str(root / machine))
    claim = Claim(store.below("sweep"))
    claim.acquire(quiet)
    found = StoredHome(store.below("sweep"), root / machine / "sweep", claim, quiet)
    found.start()
    return found


def line(epoch: int, loss: float = 0.5) -> str:
    return json.dumps({"epoch": epoch, "time": 1.0 + epoch, "metrics": {"val/loss": loss}})


# Steps of a run: an epoch, a checkpoint, some other file, a push.
STEPS = st.lists(st.sampled_from(["epoch", "checkpoint", "file", "push"]), max_size=12)


@given(steps=STEPS, crash=st.integers(0, 40))
@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_crash_leaves_in_the_store_can_be_gone_on_from(steps: list[str], crash: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        here, uri = Path(folder) / "here", Path(folder).as_uri() + "/store"
        store, epochs, puts = Store(uri, patience=0.0), 0, 0
        mirror = Mirror(store, RUN, here)
        mirror.pull()
        put = store.put

        def counted(name: str, content: bytes) -> None:
            nonlocal puts
            puts += 1
            if puts > crash:
                raise MachineFault("crash")
            put(name, content)

        store.put = counted  # type: ignore[method-assign]
        try:
            for step in steps:
                if step == "epoch":
                    with (here / "epochs.jsonl").open("a") as log:
                        log.write(line(epochs) + "\n")
                    epochs += 1
                elif step == "checkpoint":
                    (here / "last.pt").write_bytes(str(epochs).encode())
                elif step == "file":
                    (here / f"file-{epochs}").write_bytes(b"x" * epochs)
                else:
                    mirror.push()
            (here / "result.json").write_text("{}")
            mirror.push(ended=True)
        except MachineFault:
            pass
        again = Mirror(Store(uri), RUN, Path(folder) / "again")
        again.pull()
        logged = again.folder / "epochs.jsonl"
        known = len(logged.read_text().splitlines()) if logged.exists() else 0
        if (again.folder / "last.pt").exists():
            assert known >= int((again.folder / "last.pt").read_text()), "the log ends before the checkpoint"
        if (again.folder / "result.json").exists():
            assert known == epochs, "a run that has ended has its whole log"
            for path in here.glob("file-*"):
                assert (again.folder / path.name).read_bytes() == path.read_bytes()
        if puts <= crash:
            assert (again.folder / "result.json").exists() and not (again.folder / "last.pt").exists()


def test_only_what_changed_is_sent_and_the_previous_checkpoint_never(store: Store, tmp_path: Path) -> None:
    mirror = Mirror(store, RUN, tmp_path / "run")
    mirror.pull()
    for name in ("epochs.jsonl", "last.pt", "previous.pt", ".epochs.jsonl.77"):
        (mirror.folder / name).write_text("one")
    mirror.push()
    assert set(store.list(RUN)) == {"epochs.jsonl", "last.pt"}
    first = store.list(RUN)
    (mirror.folder / "epochs.jsonl").write_text("one two")
    mirror.push()
    assert store.list(RUN)["last.pt"] == first["last.pt"] and store.list(RUN)["epochs.jsonl"].size == 7


def test_a_run_without_a_store_works_in_its_own_folder(tmp_path: Path) -> None:
    with attached(None, tmp_path) as folder:
        assert folder == tmp_path and reported(None, folder) == {}


def test_a_run_on_another_machine_gets_its_folder_and_leaves_its_result(
    store: Store, scratch: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = open_home(store, monkeypatch, "driver")
    run = driver.folder / RUN
    run.mkdir(parents=True)
    (run / "spec.json").write_text('{"key": "a"}')
    driver.hand_out(run)
    with attached(driver.ticket, run) as folder:
        assert folder != run and (folder / "spec.json").read_text() == '{"key": "a"}'
        (folder / "epochs.jsonl").write_text(line(0) + "\n" + line(1) + "\n")
        assert reported(driver.ticket, folder) == {"line": line(1)}
        (folder / "best.safetensors").write_bytes(b"weights")
        (folder / "result.json").write_text('{"state": "COMPLETE"}')
    assert not list((scratch.parent / "driver" / "runs").iterdir()), "a run leaves nothing on its machine"
    driver.ended(run)
    assert sorted(path.name for path in run.iterdir()) == ["epochs.jsonl", "result.json", "spec.json"]
    with driver.borrowed(run, ["best.safetensors"]):
        assert (run / "best.safetensors").read_bytes() == b"weights"
    assert not (run / "best.safetensors").exists()
    driver.close(hurry=False)


def test_a_run_that_the_bracket_throws_out_sends_nothing_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = open_home(store, monkeypatch, "driver")
    run = driver.folder / RUN
    run.mkdir(parents=True)
    (run / "spec.json").write_text("{}")
    driver.hand_out(run)
    for epoch in (0, 1, 1, 2):  # one of them is trained again from a checkpoint
        driver.heard(run, line(epoch))
    with pytest.raises(SystemExit), attached(driver.ticket, run) as folder:
        (folder / "epochs.jsonl").write_text(line(0) + "\n")
        raise SystemExit
    assert set(store.list(f"sweep/{RUN}")) == {"spec.json"}
    (run / "result.json").write_text('{"state": "PRUNED"}')
    driver.decided(run)
    driver.close(hurry=False)
    assert store.get(f"sweep/{RUN}/epochs.jsonl").decode().splitlines() == [line(0), line(1), line(2)]
    assert "result.json" in store.list(f"sweep/{RUN}")


def test_another_machine_goes_on_and_the_first_ones_folder_is_put_aside(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = open_home(store, monkeypatch, "one")
    run = first.folder / RUN
    run.mkdir(parents=True)
    for name, content in (("spec.json", "{}"), ("epochs.jsonl", line(0) + "\n"), ("result.json", "{}")):
        (run / name).write_text(content)
    (first.folder / "redo.json").write_text("{}")
    (first.folder / "ledger.db").write_text("not to be sent")
    first.close(hurry=False)
    second = open_home(store, monkeypatch, "two")
    names = sorted(path.relative_to(second.folder).as_posix() for path in second.folder.rglob("*") if path.is_file())
    assert names == [
        ".home.json",
        *(f"{RUN}/{name}" for name in ("epochs.jsonl", "result.json", "spec.json")),
        "redo.json",
    ]
    other = second.folder / RUN.replace("0000", "0001")
    other.mkdir()
    (other / "spec.json").write_text("{}")
    (other / "result.json").write_text("{}")
    second.close(hurry=False)
    again = open_home(store, monkeypatch, "one")
    assert (again.folder / other.relative_to(second.folder) / "result.json").exists()
    assert not (again.folder / "ledger.db").exists() and (again.folder.with_name("sweep.1") / "ledger.db").exists()
    again.close(hurry=False)


def test_the_stop_request_reaches_a_run_and_a_driver_that_has_gone_disowns_it(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hsray.storage.worker.LOOK_EVERY_S", 0.05)
    driver = open_home(store, monkeypatch, "driver")
    run = driver.folder / RUN
    run.mkdir(parents=True)
    (run / "spec.json").write_text("{}")
    driver.hand_out(run)

    def stopped(folder: Path) -> str:
        path = folder.parents[2] / "stop"
        for _ in range(100):
            if path.exists():
                return path.read_text()
            time.sleep(0.03)
        return "never"

    with attached(driver.ticket, run) as folder:
        claim = next(iter(store.list("sweep/drivers")))
        store.put(f"sweep/drivers/{claim}", b"{")
        time.sleep(0.3)  # it is read, and what cannot be understood stops neither the run nor its listening
        (driver.folder / "stop").write_text("Ctrl-C")
        assert stopped(folder) == "Ctrl-C"
        (folder / "last.pt").write_bytes(b"saved")
    assert store.get(f"sweep/{RUN}/last.pt") == b"saved"
    (driver.folder / "stop").unlink()
    driver.close(hurry=False)
    with attached(driver.ticket, run) as folder:
        assert "gone" in stopped(folder)
        (folder / "last.pt").write_bytes(b"too late")
    assert store.get(f"sweep/{RUN}/last.pt") == b"saved"


def test_a_second_driver_is_refused_and_names_the_first_and_a_silent_one_is_followed(store: Store) -> None:
    said: list[str] = []
    first = Claim(store)
    first.acquire(said.append)
    with pytest.raises(RequestError, match=r"running already: process \d+ on "):
        Claim(store).acquire(said.append)
    assert not said and set(store.list("drivers")) == {first.token}
    late = Claim(store, overdue=0.0, stale=0.2)
    late.acquire(said.append)
    assert "waiting" in said[0] and "has gone" in said[-1]
    first.beat()
    assert first.lost is not None and "another driver" in first.lost
    late.beat()
    assert late.lost is None
    # A driver of this machine whose process has ended need not be waited for.
    ended = subprocess.Popen(["true"])
    ended.wait()
    told = json.loads(store.get(late.name) or b"") | {"pid": ended.pid}
    store.put("other/drivers/dead", json.dumps(told).encode())
    Claim(store.below("other")).acquire(said.append)
    assert f"process {ended.pid}" in said[-1]


def test_a_driver_that_was_taken_over_hands_out_nothing_more(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = open_home(store, monkeypatch, "driver")
    run = driver.folder / RUN
    run.mkdir(parents=True)
    (run / "spec.json").write_text("{}")
    store.delete(f"sweep/{driver.claim.name}")
    driver.claim.beat()
    with pytest.raises(HsrayError, match="taken this sweep over"):
        driver.hand_out(run)
    driver.close(hurry=True)


def test_an_open_runs_log_is_fetched_where_a_killed_driver_heard_less(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    driver = open_home(store, monkeypatch, "one")
    for name, here, there in (("ahead", 3, 2), ("behind", 1, 3)):
        run = driver.folder / "cells" / "dataset=tiny@0123" / name
        run.mkdir(parents=True)
        (run / "spec.json").write_text("{}")
        (run / "epochs.jsonl").write_text("".join(line(epoch) + "\n" for epoch in range(here)))
        sent = "".join(line(epoch) + "\n" for epoch in range(there))
        store.put(f"sweep/cells/dataset=tiny@0123/{name}/epochs.jsonl", sent.encode())
    driver._over.set()  # as after kill -9: nothing is sent, and its claim is left
    driver._thread.join()
    driver.claim.release()
    again = open_home(store, monkeypatch, "one")
    assert again.folder == driver.folder
    for name in ("ahead", "behind"):
        log = again.folder / "cells" / "dataset=tiny@0123" / name / "epochs.jsonl"
        assert log.read_text().splitlines() == [line(0), line(1), line(2)], name
    again.close(hurry=False)


def until(happened: Callable[[], bool]) -> bool:
    for _ in range(200):
        if happened():
            return True
        time.sleep(0.03)
    return False


def test_the_heartbeat_survives_what_others_leave_in_the_store_and_says_it_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (("BEAT_S", 0.01), ("AGAIN_S", 0.01)):
        monkeypatch.setattr(f"hsray.storage.driver.{name}", value)
    driver, said = open_home(store, monkeypatch, "driver"), []
    driver._say = said.append

    def beaten() -> bool:
        before = store.list("sweep/drivers")[driver.claim.token].written
        return until(lambda: store.list("sweep/drivers")[driver.claim.token].written > before)

    for content in (b"{", b"\xff", b"[]", b"{}", b'{"format": 2}'):
        store.put("sweep/drivers/other", content)
        if content in (b"{", b'{"format": 2}'):
            assert beaten() and beaten(), content
    assert len(said) == 1 and "drivers/other" in said[0] and "tried again" in said[0]
    store.delete("sweep/drivers/other")
    assert beaten() and len(said) == 1
    (driver.folder / "stop").mkdir()  # cannot be read
    assert beaten() and beaten() and driver.claim.lost is None and len(said) == 1
    assert json.loads(store.get(f"sweep/{driver.claim.name}") or b"")["stop"] == "stop"
    driver.close(hurry=False)


@pytest.mark.parametrize("name", ["home.json", "drivers/other"])
@pytest.mark.parametrize(("content", "word"), [(b'{"format": 2, "x": 1}', "upgrade hsray"), (b"{", "damaged")])
def test_a_sweep_of_another_format_is_refused_and_left_as_it_is(
    store: Store, scratch: Path, name: str, content: bytes, word: str
) -> None:
    store.put(f"sweep/{name}", content)
    with pytest.raises(RequestError, match=word) as refused, home(store.uri, "sweep", quiet):
        pass
    assert name in str(refused.value) and set(store.list("sweep")) == {name}
    assert store.get(f"sweep/{name}") == content and not scratch.exists()


def test_drivers_write_the_number_of_their_format(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    driver = open_home(store, monkeypatch, "driver")
    for name in ("home.json", driver.claim.name):
        assert json.loads(store.get(f"sweep/{name}") or b"")["format"] == 1
    driver.close(hurry=False)


def test_somebody_elses_folder_among_the_temporary_ones_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HSRAY_SCRATCH")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    own = scratch_folder()
    assert own.parent == tmp_path and own.stat().st_mode & 0o777 == 0o700 and scratch_folder() == own
    another = os.getuid() + 1  # the folder stays this user's, and the process is another's
    monkeypatch.setattr(os, "getuid", lambda: another)
    (tmp_path / f"hsray-{another}").mkdir()
    with pytest.raises(RequestError, match=rf"(?s)hsray-{another}.*HSRAY_SCRATCH"):
        scratch_folder()


@pytest.mark.parametrize(
    "address",
    [
        "s3://key:secret@bucket/x",
        "s3://key:se/secret@bucket/x",
        "gs://key:secret@bucket/x",
        "s3://key@bucket/x",
        "s3://bucket/x?secret_key=secret",
        "s3://bucket/x#secret",
    ],
)
def test_an_address_with_credentials_is_refused_and_not_repeated(address: str) -> None:
    with pytest.raises(RequestError) as refused, home(address, "sweep", quiet):
        pass
    assert "secret" not in str(refused.value).replace("AWS_SECRET_ACCESS_KEY", "") and "key@" not in str(refused.value)


@pytest.mark.parametrize("address", ["nonsense://bucket/x", "s3://", "file://relative/x"])
def test_an_address_of_no_store_is_refused(address: str) -> None:
    with pytest.raises(RequestError), home(address, "sweep", quiet):
        pass


def test_reading_copies(store: Store, tmp_path: Path) -> None:
    assert local_runs(tmp_path, "sweep") == tmp_path and local_checkpoint(tmp_path) == tmp_path
    for name in ("spec.json", "epochs.jsonl", "result.json", "best.safetensors", "last.pt"):
        store.put(f"sweep/{RUN}/{name}", name.encode())
    copy = local_runs(store.uri, "sweep") / "sweep" / RUN
    assert sorted(path.name for path in copy.iterdir()) == ["epochs.jsonl", "result.json", "spec.json"]
    folder = local_checkpoint(f"{store.uri}/sweep/{RUN}")
    assert sorted(path.name for path in folder.iterdir()) == ["best.safetensors", "spec.json"]
    assert local_checkpoint(f"{store.uri}/sweep/{RUN}/best.safetensors").read_bytes() == b"best.safetensors"
    with pytest.raises(RequestError, match="no such run"):
        local_checkpoint(f"{store.uri}/sweep/nothing")
