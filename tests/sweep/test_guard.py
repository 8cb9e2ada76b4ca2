"""How a run ends, as its folder says it: a result, or none where it goes on another time."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hsray.datasets.samples import Shard
from hsray.errors import MachineFault, RequestError, RunStopped
from hsray.runlog import append_epoch, read_json, write_json
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


PEER = """
import os, signal, sys, torch
torch.distributed.init_process_group("gloo", init_method=sys.argv[1], rank=1, world_size=2)
torch.distributed.barrier()
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_a_worker_says_whose_peer_was_killed_is_no_result(tmp_path: Path) -> None:
    one, meet = job(tmp_path), f"file://{tmp_path}/meet"
    peer = subprocess.Popen([sys.executable, "-c", PEER, meet])
    torch.distributed.init_process_group("gloo", init_method=meet, rank=0, world_size=2)

    def work() -> dict[str, Any]:
        torch.distributed.barrier()
        peer.wait()
        torch.distributed.all_reduce(torch.ones(3))
        return {"state": "COMPLETE"}

    try:
        with pytest.raises(RuntimeError):
            guarded(one, work, lambda fault: None, Shard(0, 2))
    finally:
        torch.distributed.destroy_process_group()
    assert peer.returncode == -9 and one.result is None


def test_what_nccl_says_is_no_result(tmp_path: Path) -> None:
    one = job(tmp_path)
    for lost in (torch.distributed.DistBackendError("remote process exited"), RuntimeError("NCCL error: unhandled")):
        with pytest.raises(RuntimeError):
            guarded(one, raises(lost), lambda fault: None, Shard(0, 2))
    assert one.result is None


UNUSED = "Expected to have finished reduction in the prior iteration before starting a new one. This error indicates"


@pytest.mark.parametrize(
    ("work", "said"),
    [
        (lambda: torch.ones(2, 3) @ torch.ones(2, 3), "mat1 and mat2 shapes cannot be multiplied"),
        (raises(RuntimeError("CUDA error: device-side assert triggered")), "device-side assert triggered"),
        (raises(RuntimeError(UNUSED)), "Expected to have finished reduction"),
    ],
)
def test_an_error_of_code_is_a_result_with_several_workers_too(tmp_path: Path, work: Any, said: str) -> None:
    one = job(tmp_path)
    with pytest.raises(RuntimeError):  # the others may be waiting for this one
        guarded(one, work, lambda fault: None, Shard(1, 2))
    assert one.result is not None and one.result["state"] == "FAILED" and said in one.result["reason"]


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("error", [None, ValueError("too late")])
def test_the_first_result_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception | None, links: bool
) -> None:
    one = job(tmp_path)
    if not links:
        monkeypatch.setattr(os, "link", no_link)

    def work() -> dict[str, Any]:
        write_json(one.folder / "result.json", {"state": "PRUNED"})
        if error:
            raise error
        return {"state": "COMPLETE"}

    assert end(one, work) == ({"state": "PRUNED"}, [])
    assert [path.name for path in one.folder.iterdir()] == ["result.json"]


def test_a_result_is_left_where_the_file_system_has_no_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "link", no_link)
    one = job(tmp_path)
    assert end(one, lambda: {"state": "COMPLETE"}) == ({"state": "COMPLETE"}, [])
    assert [path.name for path in one.folder.iterdir()] == ["result.json"]


def no_link(*paths: Path) -> None:
    raise OSError(errno.EPERM, "Operation not permitted")


def test_a_run_that_failed_has_cost_what_all_its_attempts_have(tmp_path: Path) -> None:
    one = job(tmp_path)
    append_epoch(one.folder, 0, {"cost/seconds": 100.0})

    def work() -> dict[str, Any]:
        append_epoch(one.folder, 1, {"cost/seconds": 130.0})  # of this attempt: counted by the clock
        raise ValueError("broken")

    result, _ = end(one, work)
    assert result is not None and 100 <= result["metrics"]["cost/seconds"] < 120
