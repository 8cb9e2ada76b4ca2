"""What a sweep will take is counted, not guessed; what cannot work is refused, all at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from hsray.commands.plan import print_plan
from hsray.datasets.store import CubeStore
from hsray.errors import RequestError
from hsray.experiment import Experiment, load_experiment
from hsray.runlog import write_json
from hsray.strategies.assembly import untrained
from hsray.strategies.strategy import catalogue, strategy
from hsray.sweep.cells import Cell, cells
from hsray.sweep.cluster.needs import Need
from hsray.sweep.jobs import final_job, trial_job, write_spec
from hsray.sweep.preflight.disk import room, room_problems
from hsray.sweep.preflight.memory import Memories, _kept_for_backward
from hsray.sweep.preflight.nodes import Expected, answered, look, sizes
from hsray.sweep.preflight.past import PastRuns
from hsray.sweep.preflight.plan import need_problems, rooms, runs_of
from hsray.training import RunConfig, Training
from tests.sweep.sweeps import write_experiment
from tests.tiny import tiny_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    return tiny_store(tmp_path_factory.mktemp("data"), bands=16, size=(32, 32))


def planned(folder: Path, **parts: Any) -> tuple[Experiment, list[Cell], Memories]:
    experiment = load_experiment(write_experiment(folder, **parts))
    memories = Memories(activations=True)
    return experiment, cells(experiment, folder / "data", "e.yaml", memories), memories


@pytest.mark.parametrize("name", ["runet", "mlp", "minirocket", "hypersl-scratch"])
def test_activations_are_those_that_a_real_training_step_keeps(store: CubeStore, name: str) -> None:
    """At a batch of 4, with real values; the count was taken at another size, where possible without values."""
    config = RunConfig(
        task="segmentation", dataset=str(store.path), strategy=strategy(name), training=Training(batch=4, crop=16)
    )
    memories, model = Memories(activations=True), untrained(config.strategy, "segmentation", store)
    counted = memories._measured(config, store, untrained(config.strategy, "segmentation", store))
    real = _kept_for_backward(model, torch.rand(4, 16, 16, 16), store.num_classes)
    assert 4 * counted[2] == pytest.approx(real, rel=0.06)
    assert counted[1] == sum(p.numel() * 4 for p in model.parameters())


def test_a_frozen_encoder_that_has_run_is_not_counted(store: CubeStore) -> None:
    frozen, full = (
        RunConfig(task="segmentation", dataset=str(store.path), strategy=catalogue()[name])
        for name in ("hypersl-frozen", "hypersl-full")
    )
    memories = Memories(activations=False)
    alone, whole = (memories._measured(c, store, untrained(c.strategy, c.task, store)) for c in (frozen, full))
    assert alone[0] < whole[0] / 2 and alone[1] < whole[1] / 2


def test_the_largest_value_of_a_search_space_counts_and_workers_share_the_batch(tmp_path: Path) -> None:
    parts: dict[str, Any] = {"task": "segmentation", "axes": {"dataset": ["tiny"], "strategy": ["mlp"]}, "fixed": {}}
    _, [small], memories = planned(tmp_path, **parts, search={"batch": {"choice": [2, 4]}})
    _, [large], more = planned(tmp_path, **parts, search={"batch": {"choice": [2, 8]}, "crop": {"choice": [8, 16]}})
    assert more.of(large).activations == 2 * memories.of(small).activations
    shared = replace(large, resources=large.resources.model_copy(update={"workers": 2}))
    assert 2 * more.of(shared).activations == more.of(large).activations
    assert (
        more.of(large).optimiser
        == 2 * more.of(large).gradients
        == more.of(large).checkpoint - 2 * (more.of(large).parameters)
    )


def ended(cell: Cell, sweep: Path, number: int, seconds: float, kind: str = "trial", state: str = "COMPLETE") -> None:
    make = trial_job if kind == "trial" else final_job
    job = make(cell, number, {"lr": 0.01}, sweep, sweep)
    write_spec(job, cell, {"lr": 0.01})
    metrics = {"cost/device_seconds": seconds, "labelled_images": 6, "val/jaccard_macro": 0.5}
    write_json(job.folder / "result.json", {"state": state, "metrics": metrics})


def test_time_comes_from_past_runs_or_is_unknown(tmp_path: Path) -> None:
    axes = {"dataset": ["tiny"], "strategy": ["mlp"], "fraction": [1.0]}
    _, [cell], _ = planned(tmp_path, axes=axes)
    _, [longer], _ = planned(tmp_path, axes=axes, budget={"trials": 3, "epochs": 40, "patience": None})
    _, [other], _ = planned(tmp_path, axes={**axes, "strategy": ["fc"]})
    sweep = tmp_path / "runs" / "old"
    assert PastRuns(tmp_path / "runs").expected(cell) is None
    ended(cell, sweep, 0, 10.0)
    ended(cell, sweep, 1, 20.0, state="PRUNED")
    ended(cell, sweep, 2, 1e6, state="FAILED")
    past = PastRuns(tmp_path / "runs")
    own = past.expected(cell)
    assert own is not None and (own.trial, own.final, own.runs, own.source) == (15.0, 10.0, 2, "this cell")
    ended(cell, sweep, 0, 30.0, kind="final")
    scaled = PastRuns(tmp_path / "runs").expected(longer)
    assert scaled is not None and (scaled.trial, scaled.final) == pytest.approx((150.0, 300.0)), "ten times the epochs"
    assert (scaled.runs, scaled.source) == (3, "the same strategy and dataset")
    assert PastRuns(tmp_path / "runs").expected(other) is None
    broken = next(sweep.rglob("trial-0001/spec.json"))
    broken.write_text("{")
    again = PastRuns(tmp_path / "runs").expected(cell)
    assert again is not None and again.runs == 2


def test_disk_is_counted_for_what_is_left_and_refused_where_there_is_none(tmp_path: Path) -> None:
    experiment, found, memories = planned(tmp_path, axes={"dataset": ["tiny"], "strategy": ["mlp"]})
    sweep, cache = tmp_path / "runs" / "tiny-sweep", tmp_path / "data" / ".features"
    mlp = memories.of(found[0])
    features, checkpoints, weights = rooms(experiment, found, memories, sweep, cache, 2)
    assert (features.bytes, checkpoints.bytes, weights.bytes) == (0, 4 * mlp.checkpoint, (1 + 2) * mlp.parameters)
    ended(found[0], sweep, 0, 1.0)
    ended(found[0], sweep, 0, 1.0, kind="final")
    assert runs_of(experiment, found[0], sweep) == ((1, 3), (1, 2))
    kept = {keep: rooms(experiment.model_copy(update={"keep": keep}), found, memories, sweep, cache, 1)[2].bytes
            for keep in ("finals", "best", "all")}  # fmt: skip
    assert kept == {"finals": mlp.parameters, "best": 2 * mlp.parameters, "all": 3 * mlp.parameters}
    [only] = rooms(experiment, found, memories, sweep, cache, 2, local=False)
    assert only.what == "features" and only.folder == cache, "what goes to a store takes no local disk"
    assert not room_problems([features, checkpoints, weights])
    much = room(tmp_path / "not there yet", "checkpoints", 10**18)
    [problem] = room_problems([weights, much])
    assert "of disk" in str(problem) and "1e+09 GB" in str(problem) and "are free" in str(problem)


def test_shares_of_gpus_that_cannot_be_are_refused() -> None:
    assert not need_problems([Need(workers=1, cpu=1, gpu=0.5), Need(workers=2, cpu=1, gpu=2)])
    shared, broken = need_problems([Need(workers=2, cpu=1, gpu=0.5), Need(workers=1, cpu=1, gpu=1.5)])
    assert "NCCL" in str(shared) and "1.5 GPUs" in str(broken)


def test_the_plan_in_json_and_all_that_cannot_work_at_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    path = write_experiment(tmp_path)
    before = sorted(tmp_path.rglob("*"))
    print_plan(path, tmp_path / "data", str(tmp_path / "runs"), smoke=False, format="json")
    told = json.loads(capsys.readouterr().out)
    assert (told["trials"], told["finals"], told["device_hours"], len(told["cells"])) == (12, 8, None, 4)
    assert told["cells"][0]["memory"]["total"] > 0 and told["cells"][0]["trials"] == {"ended": 0, "planned": 3}
    print_plan(path, tmp_path / "data", str(tmp_path / "runs"), smoke=False, format="table")
    assert "unknown" in capsys.readouterr().out and sorted(tmp_path.rglob("*")) == before
    assert "without values" in told["memory_method"] and told["store"] == []
    with (tmp_path / "data" / "tiny" / "tiny_val.h5").open("r+b") as file:
        file.truncate(6000)
    with pytest.raises(RequestError) as caught:
        write_experiment(tmp_path, resources={"cpus": 1000})
        print_plan(path, tmp_path / "data", str(tmp_path / "runs"), smoke=False, format="json")
    for words in ("problems", "image val-00", "image val-01", "tiny_val.h5", "1000 CPU"):
        assert words in str(caught.value)
    assert not capsys.readouterr().out


def test_the_plan_of_a_sweep_in_a_store_at_80_columns(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setenv("COLUMNS", "80")
    (tmp_path / "store").mkdir()
    path, uri = write_experiment(tmp_path, axes={"dataset": ["tiny"], "strategy": ["mlp"]}), (tmp_path / "store")
    print_plan(path, tmp_path / "data", uri.as_uri(), smoke=False, format="table")
    lines = capsys.readouterr().out.splitlines()
    memory = next(number for number, line in enumerate(lines) if line.startswith("memory "))
    assert "activations" in lines[memory] and lines[memory + 1].startswith("disk "), "one short line"
    told = " ".join(" ".join(lines[memory + 1 :]).split())
    assert "of checkpoints and" in told and "of weights go to the store" in told and "hsray-" not in told
    print_plan(path, tmp_path / "data", uri.as_uri(), smoke=False, format="json")
    told = json.loads(capsys.readouterr().out)
    assert [one["what"] for one in told["disk"]] == ["features"]
    assert {one["what"]: one["bytes"] > 0 for one in told["store"]} == {"checkpoints": True, "weights": True}


def test_what_a_node_sees_is_compared_with_what_the_driver_sees(tmp_path: Path, store: CubeStore) -> None:
    shared = tmp_path / "shared"
    shared.mkdir()
    (shared / "driver").write_text("nonce")
    (tmp_path / "weights.pt").write_bytes(b"1234")
    expected = Expected(
        {str(store.path): (store.fingerprint, sizes(store))},
        {str(tmp_path / "weights.pt"): 4},
        {str(shared / "driver"): "nonce"},
    )
    assert look(expected, "n1") == [] and answered(expected, "n1") == []
    other = Expected(
        {str(store.path): ("0", sizes(store)), str(tmp_path / "nowhere"): ("0", {})},
        {str(tmp_path / "weights.pt"): 5},
        {str(tmp_path / "hidden" / "driver"): "nonce", str(shared / "driver"): "another"},
    )
    said = [what for what, _, _ in look(other, "n2")]
    for words in ("is another one", "cannot be opened", "weights", "not shared", "a folder is another"):
        assert any(words in one for one in said), words
    assert not (shared / "driver.n2").exists()
