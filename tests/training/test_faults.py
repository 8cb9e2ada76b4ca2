"""What the machine does to a run: spoilt checkpoints, a full disk, files that are not there any more."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsray.errors import MachineFault, RunStopped
from hsray.runlog import read_epochs
from hsray.strategies.strategy import strategy
from hsray.training import RunConfig, Training, checkpoint, fit, stopping
from tests.tiny import tiny_store

CPU = torch.device("cpu")
LAST, PREVIOUS = checkpoint.NAME, checkpoint.PREVIOUS
Report = Callable[[int, dict[str, float]], None]


@pytest.fixture(autouse=True)
def _save_and_ask_every_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HSRAY_CHECKPOINT_SECONDS", "0")
    monkeypatch.setattr(stopping, "EVERY", 0.0)


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> RunConfig:
    store = tiny_store(tmp_path_factory.mktemp("data"))
    training = Training(lr=1e-2, batch=64, epochs=5, pixels_per_image=60)
    return RunConfig(task="spectral", dataset=str(store.path), strategy=strategy("fc"), training=training, seed=2)


def go(config: RunConfig, folder: Path, report: Report = lambda epoch, metrics: None, **options: Any) -> dict[str, Any]:
    folder.mkdir(exist_ok=True)
    return fit(config, folder, report, device=CPU, **options)


def begin(config: RunConfig, folder: Path) -> None:
    """A run that was stopped in its fourth epoch and left two checkpoints."""
    with pytest.raises(RunStopped):
        go(config, folder, stop=lambda: len(read_epochs(folder)) == 3)
    assert (folder / LAST).exists() and (folder / PREVIOUS).exists()


def leaves(folder: Path, result: dict[str, Any]) -> tuple[Any, ...]:
    """Scores but for times."""
    log = [(record["epoch"], record["metrics"]["val/loss"]) for record in read_epochs(folder)]
    return log, {name: value for name, value in result["metrics"].items() if "seconds" not in name}


def spoil(path: Path, share: float, how: str) -> None:
    content = bytearray(path.read_bytes())
    place = int(share * (len(content) - 1))
    if how == "cut":
        content = content[:place]
    else:
        content[place] ^= 0xFF
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoilt", "first", "said"),
    [((LAST,), 3, "went on from previous.pt, epoch 4"), ((LAST, PREVIOUS), 0, "started again")],
)
def test_a_spoilt_checkpoint_gives_way(
    config: RunConfig, tmp_path: Path, spoilt: tuple[str, ...], first: int, said: str
) -> None:
    whole = leaves(tmp_path / "whole", go(config, tmp_path / "whole"))
    begin(config, tmp_path / "run")
    for name in spoilt:
        spoil(tmp_path / "run" / name, 0.9, "cut")
    trained: list[int] = []
    result = go(config, tmp_path / "run", lambda epoch, metrics: trained.append(epoch))
    assert trained == list(range(first, 5)), "the one before is used, and where there is none, the start"
    assert leaves(tmp_path / "run", result) == whole
    assert result["notes"][0].startswith("last.pt was not used: it is damaged")
    assert said in result["notes"]


def test_wherever_a_checkpoint_is_spoilt_the_run_ends_as_it_should(config: RunConfig, tmp_path: Path) -> None:
    whole = leaves(tmp_path / "whole", go(config, tmp_path / "whole"))
    run = tmp_path / "run"
    begin(config, run)
    before = {name: (run / name).read_bytes() for name in (LAST, PREVIOUS, "epochs.jsonl")}

    @settings(max_examples=10, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.floats(0, 1), st.sampled_from(["cut", "flip"]))
    def check(share: float, how: str) -> None:
        for name, content in before.items():
            (run / name).write_bytes(content)
        spoil(run / LAST, share, how)
        assert leaves(run, go(config, run)) == whole

    check()


def test_a_checkpoint_that_is_not_this_runs_is_not_used(config: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(config, run)
    other = config.model_copy(update={"training": config.training.model_copy(update={"lr": 2e-2})})
    result = go(other, run)
    assert leaves(run, result) == leaves(tmp_path / "own", go(other, tmp_path / "own"))
    assert "last.pt was not used: it is of another configuration" in result["notes"]


def test_a_log_that_lost_epochs_is_trained_again_and_becomes_whole(config: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(config, run)
    lines = (run / "epochs.jsonl").read_text().splitlines(keepends=True)
    (run / "epochs.jsonl").write_text(lines[0] + lines[2] + '{"epoch": 3, "ti')
    result = go(config, run)
    assert [record["epoch"] for record in read_epochs(run)] == list(range(5))
    assert leaves(run, result) == leaves(tmp_path / "whole", go(config, tmp_path / "whole"))


def test_checkpoints_of_other_versions(config: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(RuntimeError, match="killed"):  # between epochs, as the first version saved
        go(config, run, killed_after(2))
    content = checkpoint.read(run / LAST)
    later = ("update", "loss", "pixels", "notes")
    first = {name: value for name, value in content["progress"].items() if name not in later}
    torch.save({"model": content["model"], "optimiser": content["optimiser"], "progress": first}, run / LAST)
    trained: list[int] = []
    result = go(config, run, lambda epoch, metrics: trained.append(epoch))
    assert trained == [2, 3, 4] and "notes" not in result
    assert leaves(run, result) == leaves(tmp_path / "whole", go(config, tmp_path / "whole"))
    torch.save({**content, "format": 99}, run / LAST)
    with pytest.raises(MachineFault, match=r"a newer hsray wrote this checkpoint \(format 99") as caught:
        go(config, run)
    assert "delete the file" in str(caught.value)


def killed_after(epochs: int) -> Report:
    def report(epoch: int, metrics: dict[str, float]) -> None:
        if epoch + 1 == epochs:
            raise RuntimeError("killed")

    return report


def test_a_full_disk_costs_the_checkpoint_and_not_the_run(config: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    begin(config, run)
    kept = (run / LAST).read_bytes()
    partial = run / f".{LAST}.{os.getpid()}"

    def full() -> bool:
        if not partial.is_symlink():
            partial.symlink_to("/dev/full")  # the kernel says ENOSPC to whatever is written there
        return False

    result = go(config, run, stop=full)
    assert (run / LAST).read_bytes() == kept
    assert result["notes"] == [
        "a checkpoint could not be written, and the one before it was kept: "
        "cannot write last.pt: No space left on device"
    ]
    assert leaves(run, result) == leaves(tmp_path / "whole", go(config, tmp_path / "whole"))
    assert not list(run.glob(".*")), "nothing half-written is left"


def test_a_log_that_cannot_be_written_is_the_machines_fault(config: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"

    def full() -> bool:
        if not (run / "epochs.jsonl").exists():
            (run / "epochs.jsonl").symlink_to("/dev/full")
        return False

    with pytest.raises(MachineFault, match=r"cannot write epochs.jsonl: No space left on device"):
        go(config, run, stop=full)


def test_what_dead_attempts_left_half_written_is_removed(config: RunConfig, tmp_path: Path) -> None:
    run = tmp_path / "run"
    run.mkdir()
    others = {".hidden.txt", "notes.12", ".result.json.12", ".spec.json.12"}  # the driver may be writing the last two
    for name in (".last.pt.999999", ".epochs.jsonl.12", ".best.safetensors.12", *others):
        (run / name).write_text("half")
    go(config, run)
    assert {path.name for path in run.iterdir() if "pt" not in path.suffix} == {*others, "epochs.jsonl"}


def test_what_cannot_be_removed_is_the_machines_fault(config: RunConfig, tmp_path: Path) -> None:
    (tmp_path / "run" / ".last.pt.12").mkdir(parents=True)  # no unlink takes it away
    with pytest.raises(MachineFault, match="cannot write run: Is a directory"):
        go(config, tmp_path / "run")


def test_weights_of_a_trial_are_left_when_told(config: RunConfig, tmp_path: Path) -> None:
    go(config, tmp_path / "without")
    go(config, tmp_path / "with", keep_weights=True)
    assert [(tmp_path / run / "best.safetensors").exists() for run in ("without", "with")] == [False, True]
