"""How a run ends, as its folder says it: a result, or none where it goes on another time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from hsray.datasets.samples import Shard
from hsray.errors import MachineFault, RequestError, RunStopped
from hsray.runlog import read_json
from hsray.strategies.strategy import strategy
from hsray.sweep.guard import guarded
from hsray.sweep.jobs import Job
from hsray.training import RunConfig, Training, fit
from tests.greedy import Greedy
from tests.tiny import tiny_store

assert Greedy, "the decoder is registered"


def job(tmp_path: Path, **options: int) -> Job:
    folder = tmp_path / "runs" / "cells" / "cell" / "trial-0000"
    folder.mkdir(parents=True)
    recipe = strategy({"base": "fc", "name": "hungry", "decoder": {"name": "greedy", **options}})
    store = tiny_store(tmp_path / "data")
    training = Training(lr=1e-2, batch=64, epochs=2, pixels_per_image=60)
    config = RunConfig(task="spectral", dataset=str(store.path), strategy=recipe, training=training)
    return Job(cell="cell", kind="trial", number=0, folder=folder, config=config, cache=tmp_path)


def end(job: Job, work: Any, **options: Any) -> tuple[dict[str, Any] | None, list[str]]:
    told: list[str] = []
    guarded(job, work, told.append, **options)
    return read_json(job.folder / "result.json"), told


def raises(error: Exception) -> Any:
    def work() -> dict[str, Any]:
        raise error

    return work


def test_an_error_of_data_or_code_is_a_result_with_its_message(tmp_path: Path) -> None:
    one = job(tmp_path)
    result, told = end(one, raises(RequestError("a band is missing", where="tiny", do="prepare it again")))
    assert result is not None and result["state"] == "FAILED" and not told
    assert result["reason"] == "a band is missing\n  where: tiny\n  do:    prepare it again"
    assert "RequestError" in (one.folder / "error.txt").read_text()
    assert end(one, raises(AssertionError("started again"))) == (result, []), "and is not tried again"


@pytest.mark.parametrize("workers", [1, 2])
def test_a_run_that_was_stopped_leaves_no_result_and_is_no_error(tmp_path: Path, workers: int) -> None:
    assert end(job(tmp_path), raises(RunStopped("asked to stop")), shard=Shard(0, workers)) == (None, [])


def test_a_fault_of_the_machine_leaves_no_result_and_is_told(tmp_path: Path) -> None:
    one, told = job(tmp_path), []
    with pytest.raises(MachineFault):
        guarded(one, raises(MachineFault("cannot write epochs.jsonl: No space left on device")), told.append)
    assert told == ["cannot write epochs.jsonl: No space left on device"] and one.result is None


def test_a_result_that_cannot_be_written_is_a_fault_of_the_machine(tmp_path: Path) -> None:
    one, told = job(tmp_path), []
    one.folder.rename(tmp_path / "gone")
    with pytest.raises(MachineFault, match=r"cannot write result.json: No such file"):
        guarded(one, lambda: {"state": "COMPLETE"}, told.append)
    assert len(told) == 1 and str(one.folder) in told[0]


@pytest.mark.parametrize(("most", "state"), [(40, "COMPLETE"), (20, "FAILED")])
def test_memory_is_tried_with_half_the_batch_once(tmp_path: Path, most: int, state: str) -> None:
    one = job(tmp_path, most=most)
    work = lambda: fit(one.config, one.folder, lambda e, m: None, device=torch.device("cpu"))  # noqa: E731
    result, told = end(one, work)
    assert result is not None and result["state"] == state and not told
    assert [retry["accumulate"] for retry in result["retries"]] == [2]
    assert state == "COMPLETE" or "lower `batch` (now 64)" in result["reason"]


def test_with_several_workers_all_start_again_with_less(tmp_path: Path) -> None:
    """As Ray Train sees it: the worker that ran out raises, the others are ended, and all are started again."""
    one = job(tmp_path, most=20)

    def work() -> dict[str, Any]:
        return fit(one.config, one.folder, lambda e, m: None, device=torch.device("cpu"), shard=Shard(0, 2))

    with pytest.raises(MachineFault, match="it is tried again with less"):
        guarded(one, work, lambda fault: None, Shard(0, 2))
    assert one.result is None
    result, _ = end(one, work, shard=Shard(0, 2))
    assert result is not None and [retry["accumulate"] for retry in result["retries"]] == [2]
