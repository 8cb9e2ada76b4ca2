from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from hsray.tracking import Tracker
from tests.tracking.folders import HERE, START, FakeRun
from tests.tracking.stores import artifacts, history, runs_of

Open = Callable[[], Tracker]


@pytest.fixture
def opened(uri: str) -> Iterator[Open]:
    """Makes trackers of one experiment, and closes those that a test left open."""
    made: list[Tracker] = []

    def make() -> Tracker:
        made.append(Tracker(uri, "demo"))
        made[-1].check()
        return made[-1]

    yield make
    for tracker in made:
        tracker.close()


def test_a_finished_trial_stands_in_mlflow_as_in_its_folder(opened: Open, uri: str, sweep_dir: Path) -> None:
    trial = FakeRun(sweep_dir).start().epochs(0, 6).end(**{"val/jaccard_macro": 0.77})
    result = trial.folder / "result.json"
    tried = [{"reason": "out of memory in training", "accumulate": 2, "shrink": 1}]
    result.write_text(json.dumps({**json.loads(result.read_text()), "retries": tried}))
    tracker = opened()
    tracker.note(trial.folder)
    assert tracker.flush(30) == 0
    [run] = runs_of(uri)
    assert run.info.status == "FINISHED"
    assert run.data.tags["hsray.retries"] == "out of memory in training (accumulate=2)"
    assert (run.info.start_time, run.info.end_time) == ((START - 1) * 1000, (START + 50) * 1000)
    assert run.info.run_name == "runet trial 0"
    assert run.data.tags["hsray.key"] == trial.key
    assert run.data.tags["hsray.state"] == "complete"
    assert run.data.params == {"lr": "0.001", "adapter": "full", "batch": "8"}
    assert history(uri, run, "val/loss") == [(epoch, epoch / 100) for epoch in range(6)]
    assert run.data.metrics["val/jaccard_macro"] == 0.77  # the best, not the last epoch's 0.05
    assert run.data.metrics["cost/device_seconds"] == 6.0
    assert artifacts(uri, run) == {"spec.json"}


def test_a_final_brings_its_files_and_the_manifest(opened: Open, uri: str, sweep_dir: Path) -> None:
    final = FakeRun(sweep_dir, "final", 2).start().epochs(0, 2).end_final(np.random.default_rng(0))
    tracker = opened()
    tracker.note(final.folder)
    assert tracker.flush(30) == 0
    [run] = runs_of(uri)
    assert artifacts(uri, run) == {
        "spec.json", "manifest.json", "confusion.npz", "predictions.npz", "best.safetensors",
    }  # fmt: skip


@pytest.mark.parametrize(("state", "status"), [("COMPLETE", "FINISHED"), ("PRUNED", "FINISHED"), ("FAILED", "FAILED")])
def test_states(opened: Open, uri: str, sweep_dir: Path, state: str, status: str) -> None:
    tracker = opened()
    tracker.note(FakeRun(sweep_dir).start().end(state, "because").folder)
    tracker.flush(30)
    [run] = runs_of(uri)
    assert run.info.status == status
    assert (run.data.tags["hsray.state"], run.data.tags["hsray.reason"]) == (state.lower(), "because")


def test_epochs_arrive_while_the_run_goes_on_each_once(opened: Open, uri: str, sweep_dir: Path) -> None:
    tracker, trial = opened(), FakeRun(sweep_dir).start()
    for first in (0, 3, 6):
        tracker.note(trial.epochs(first, first + 3).folder)
        assert tracker.flush(30) == 0
        [run] = runs_of(uri)
        assert run.info.status == "RUNNING"
        assert [step for step, _ in history(uri, run, "val/loss")] == list(range(first + 3))


def test_a_torn_last_line_waits_for_its_rest(opened: Open, uri: str, sweep_dir: Path) -> None:
    tracker, trial = opened(), FakeRun(sweep_dir).start().epochs(0, 2)
    with (trial.folder / "epochs.jsonl").open("a") as log:
        log.write('{"epoch": 2, "time": 17600')
    tracker.note(trial.folder)
    assert tracker.flush(30) == 0
    with (trial.folder / "epochs.jsonl").open("a") as log:
        log.write("\n")
    tracker.note(trial.epochs(2, 4).folder)
    assert tracker.flush(30) == 0
    [run] = runs_of(uri)
    assert [step for step, _ in history(uri, run, "val/loss")] == [0, 1, 2, 3]


def test_many_epochs_exceed_one_batch(opened: Open, uri: str, sweep_dir: Path) -> None:
    tracker = opened()
    tracker.note(FakeRun(sweep_dir).start().epochs(0, 300).end().folder)
    assert tracker.flush(60) == 0
    [run] = runs_of(uri)
    assert len(history(uri, run, "train/loss")) == 300


def test_the_driver_is_killed_and_the_next_delivers_the_rest(opened: Open, uri: str, sweep_dir: Path) -> None:
    """The first tracker is simply left: what a kill leaves is what stands in MLflow at that time."""
    first = opened()
    going_on, ended = FakeRun(sweep_dir, number=0).start().epochs(0, 2), FakeRun(sweep_dir, number=1).start()
    done = FakeRun(sweep_dir, number=2).start().epochs(0, 2).end()
    for run in (going_on, ended, done):
        first.note(run.folder)
    assert first.flush(30) == 0
    ended.epochs(0, 3).end()
    missed = FakeRun(sweep_dir, number=3).start().epochs(0, 1).end()
    second = opened()
    second.reconcile(sweep_dir, HERE)
    assert second.flush(30) == 0
    by_key = {run.data.tags["hsray.key"]: run for run in runs_of(uri)}
    assert len(runs_of(uri)) == len(by_key) == 4
    assert {key: run.info.status for key, run in by_key.items()} == {
        going_on.key: "RUNNING",
        ended.key: "FINISHED",
        done.key: "FINISHED",
        missed.key: "FINISHED",
    }
    assert len(history(uri, by_key[going_on.key], "val/loss")) == 2
    assert len(history(uri, by_key[ended.key], "val/loss")) == 3


def test_runs_without_a_folder_are_closed(opened: Open, uri: str, sweep_dir: Path, tmp_path: Path) -> None:
    first = opened()
    first.note(FakeRun(tmp_path / "elsewhere", number=7).start().epochs(0, 1).folder)
    assert first.flush(30) == 0
    second = opened()
    second.reconcile(sweep_dir, HERE)
    assert second.flush(30) == 0
    assert [run.info.status for run in runs_of(uri)] == ["KILLED"]


def test_close_leaves_no_run_open_and_a_run_taken_up_opens_again(opened: Open, uri: str, sweep_dir: Path) -> None:
    first, trial = opened(), FakeRun(sweep_dir).start().epochs(0, 2)
    first.note(trial.folder)
    assert first.close() == 0
    assert [run.info.status for run in runs_of(uri)] == ["KILLED"]
    second = opened()
    second.reconcile(sweep_dir, HERE)
    second.flush(30)
    assert [run.info.status for run in runs_of(uri)] == ["KILLED"]  # nothing has happened yet
    time.sleep(0.01)
    second.note(trial.epochs(2, 3).folder)
    second.flush(30)
    assert [run.info.status for run in runs_of(uri)] == ["RUNNING"]
    second.note(trial.epochs(3, 4).end().folder)
    second.flush(30)
    [run] = runs_of(uri)
    assert run.info.status == "FINISHED"
    assert [step for step, _ in history(uri, run, "val/loss")] == [0, 1, 2, 3]


def test_delivered_folders_are_left_alone(opened: Open, uri: str, sweep_dir: Path) -> None:
    first = opened()
    first.note(FakeRun(sweep_dir).start().epochs(0, 2).end().folder)
    assert first.flush(30) == 0
    [run] = runs_of(uri)
    first._client.set_tag(run.info.run_id, "hsray.state", "untouched")  # type: ignore[union-attr]
    second = opened()
    second.reconcile(sweep_dir, HERE)
    assert second.flush(30) == 0
    assert runs_of(uri)[0].data.tags["hsray.state"] == "untouched"


def test_superseded_finals_and_the_trials_of_a_repeated_cell(opened: Open, uri: str, sweep_dir: Path) -> None:
    generator = np.random.default_rng(0)
    old = FakeRun(sweep_dir, "final", 0, definition="00000000").start().end_final(generator)
    beaten = FakeRun(sweep_dir, "final", 0, config="0ld0ld00").start().end_final(generator)
    current = FakeRun(sweep_dir, "final", 0).start().end_final(generator)
    elsewhere = FakeRun(sweep_dir, "final", 0, strategy="hypersl").start().end_final(generator)
    tracker = opened()
    tracker.reconcile(sweep_dir, HERE)
    tracker.supersede({current.cell: [current.key]})
    assert tracker.flush(30) == 0

    def superseded() -> set[str]:
        return {run.data.tags["hsray.key"] for run in runs_of(uri) if run.data.tags.get("hsray.superseded") == "true"}

    assert superseded() == {old.key, beaten.key}
    tracker.supersede({beaten.cell: [beaten.key], elsewhere.cell: [elsewhere.key]})
    assert tracker.flush(30) == 0
    assert superseded() == {old.key, current.key}
    trial = FakeRun(sweep_dir).start().end()
    again = FakeRun(sweep_dir, definition=f"{trial.definition}~2").start().end()
    tracker.reconcile(sweep_dir, HERE)
    tracker.supersede({again.cell: []})
    assert tracker.flush(30) == 0
    assert superseded() == {old.key, current.key, beaten.key, trial.key}, "a repeated cell: trials too"


def test_a_folder_that_cannot_be_read_is_named_and_holds_up_nobody(opened: Open, uri: str, sweep_dir: Path) -> None:
    broken, whole = FakeRun(sweep_dir, number=0).start(), FakeRun(sweep_dir, number=1).start().end()
    (broken.folder / "spec.json").write_text("{")
    tracker = opened()
    tracker.reconcile(sweep_dir, HERE)
    assert tracker.flush(30) == 1
    assert [run.data.tags["hsray.key"] for run in runs_of(uri)] == [whole.key]
    assert "trial-0000" in tracker.refused[broken.folder]


def test_a_run_that_mlflow_refuses_holds_up_nobody(opened: Open, uri: str, sweep_dir: Path) -> None:
    bad, good = FakeRun(sweep_dir, number=0).start(), FakeRun(sweep_dir, number=1).start().end()
    spec = json.loads((bad.folder / "spec.json").read_text())
    (bad.folder / "spec.json").write_text(json.dumps(spec | {"params": {"not a ! name": 1}}))
    tracker = opened()
    tracker.note(bad.folder)
    tracker.note(good.folder)
    assert tracker.flush(30) == 1
    assert list(tracker.refused) == [bad.folder]
    assert {run.data.tags["hsray.key"]: run.info.status for run in runs_of(uri)}[good.key] == "FINISHED"


def test_a_lost_answer_does_not_leave_two_runs_of_one_key(opened: Open, uri: str, sweep_dir: Path) -> None:
    first, trial = opened(), FakeRun(sweep_dir).start().epochs(0, 1)
    first.note(trial.folder)
    assert first.flush(30) == 0
    [run] = runs_of(uri)
    first._client.create_run(run.info.experiment_id, tags={"hsray.key": trial.key})  # type: ignore[union-attr]
    assert len(runs_of(uri)) == 2
    second = opened()
    second.reconcile(sweep_dir, HERE)
    assert second.flush(30) == 0
    assert len(runs_of(uri)) == 1


def test_note_costs_the_caller_nothing(opened: Open, sweep_dir: Path) -> None:
    tracker, trial = opened(), FakeRun(sweep_dir).start().epochs(0, 1)
    tracker.note(trial.folder)
    started = time.perf_counter()
    for _ in range(1000):
        tracker.note(trial.folder)
    assert time.perf_counter() - started < 1.0  # one delivery alone takes some 0.04 s


def test_live_runs_are_delivered_now_and_then_only(opened: Open, uri: str, sweep_dir: Path) -> None:
    tracker, trial = opened(), FakeRun(sweep_dir).start().epochs(0, 1)
    tracker.note(trial.folder)
    assert tracker.flush(30) == 0
    tracker.note(trial.epochs(1, 2).folder)
    time.sleep(0.5)
    assert len(history(uri, runs_of(uri)[0], "val/loss")) == 1
    end = time.monotonic() + 20
    while len(history(uri, runs_of(uri)[0], "val/loss")) < 2:
        assert time.monotonic() < end, "the epoch never arrived"
        time.sleep(0.1)
