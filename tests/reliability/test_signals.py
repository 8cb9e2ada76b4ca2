"""A sweep that is stopped: by Ctrl-C once and twice, by SIGTERM, by a cap; at work, while Ray starts, at features."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import torch
from safetensors.torch import save_file

from hsray.datasets import open_store
from hsray.models import build_encoder
from hsray.runlog import read_epochs
from hsray.strategies.features import images_done
from tests.reliability.faults import busy
from tests.sweep.sweeps import hsray, ledger_states, mlflow_runs, start, write_experiment
from tests.tiny import tiny_store

NAME = "long"
AGAIN = "run the same command again"
CLEAN_S, AT_ONCE_S = 10.0, 1.0
# Two cells, as many trials at a time as there are cores; each takes minutes.
LONG: dict[str, Any] = {
    "name": NAME,
    "axes": {"dataset": ["tiny"], "strategy": ["mlp", "fc"]},
    "fixed": {"batch": 256},
    "budget": {"trials": 2, "epochs": 5000, "patience": None, "halving": False},
    "final": {"seeds": 1},
}


class Sweep:
    """A sweep under way in a process group of its own, as in a terminal."""

    def __init__(self, folder: Path, **parts: Any) -> None:
        if not (folder / "data" / "tiny").is_dir():
            tiny_store(folder / "data", images={"train": 24, "val": 4, "test": 4}, size=(48, 48))
        self.folder = folder
        self.experiment = str(write_experiment(folder, **LONG | parts))
        self.process: subprocess.Popen[str] | None = None
        self.family: set[psutil.Process] = set()

    def start(self) -> None:
        signal.signal(signal.SIGINT, signal.default_int_handler)  # it would inherit that a background job ignores it
        self.process = start(self.folder, "sweep", self.experiment, start_new_session=True)

    def until(self, ready: Callable[[], Any]) -> None:
        assert self.process is not None
        end = time.monotonic() + 240
        while not ready():
            assert self.process.poll() is None, self.process.communicate()
            assert time.monotonic() < end, "it did not get so far"
            time.sleep(0.05)

    def epochs(self) -> list[int]:
        return [len(read_epochs(path.parent)) for path in (self.folder / "runs").rglob("epochs.jsonl")]

    def gone_on(self, before: list[int]) -> bool:
        return all(now - then > 3 for now, then in zip(self.epochs(), before, strict=True))

    def at_work(self) -> bool:
        return len(self.epochs()) == 2 and min(self.epochs()) > 3

    def signal(self, *signums: signal.Signals, group: bool = True, pause: float = 0.5) -> tuple[float, str]:
        """Send them one after the other; seconds from the last until the process had ended, and what it said."""
        assert self.process is not None
        for number, signum in enumerate(signums):
            time.sleep(pause if number else 0)
            self.family.update(psutil.Process(self.process.pid).children(recursive=True))
            (os.killpg if group else os.kill)(self.process.pid, signum)
        began = time.monotonic()
        out, err = self.process.communicate(timeout=120)
        return time.monotonic() - began, out + err

    def survivors(self, seconds: float) -> list[psutil.Process]:
        alive = psutil.wait_procs(list(self.family), seconds)[1]
        return [process for process in alive if _is_alive(process)]

    def close(self) -> None:
        for process in [*self.survivors(0), *([self.process] if self.process else [])]:
            if isinstance(process, psutil.Process) or process.poll() is None:
                process.kill()


def _is_alive(process: psutil.Process) -> bool:
    """Dead ones that nobody has asked for yet are not."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def sweep(tmp_path: Path) -> Iterator[Sweep]:
    made = Sweep(tmp_path)
    yield made
    made.close()


def nothing_runs(sweep: Sweep) -> None:
    assert {run["status"] for run in mlflow_runs(sweep.folder)} == {"KILLED"}
    assert not sweep.survivors(2 * busy())


@pytest.mark.parametrize(("signum", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_once_it_saves_says_how_to_go_on_and_ends_within_ten_seconds(
    sweep: Sweep, signum: signal.Signals, code: int
) -> None:
    sweep.start()
    sweep.until(sweep.at_work)
    took, said = sweep.signal(signum, group=signum == signal.SIGINT)
    assert sweep.process is not None and sweep.process.returncode == code, said
    assert took < CLEAN_S * busy()
    assert "2 runs saved" in said and AGAIN in said and "Traceback" not in said and "ray" not in said.lower()
    nothing_runs(sweep)
    assert not (sweep.folder / "runs" / NAME / "driver.json").exists()
    left = sweep.epochs()
    sweep.start()
    sweep.until(lambda: sweep.gone_on(left))
    assert len(mlflow_runs(sweep.folder)) == 2, "the same runs"
    assert ledger_states(sweep.folder, NAME) == ["RUNNING"] * 2
    sweep.signal(signal.SIGINT)
    nothing_runs(sweep)


def test_a_run_with_several_workers_saves_too(sweep: Sweep) -> None:
    write_experiment(sweep.folder, **LONG | {"resources": {"workers": 2, "concurrent": 1}})
    sweep.start()
    sweep.until(lambda: sum(sweep.epochs()) > 3)
    took, said = sweep.signal(signal.SIGINT)
    assert sweep.process is not None and sweep.process.returncode == 130, said
    assert took < CLEAN_S * busy()
    assert "1 run saved" in said and AGAIN in said and "Traceback" not in said
    nothing_runs(sweep)


def test_twice_it_leaves_at_once_with_all_its_processes_and_goes_on(sweep: Sweep) -> None:
    sweep.start()
    sweep.until(sweep.at_work)
    took, said = sweep.signal(signal.SIGINT, signal.SIGINT, pause=0.02)
    assert sweep.process is not None and sweep.process.returncode == 130, said
    assert took < AT_ONCE_S * busy()
    assert not sweep.survivors(AT_ONCE_S * busy())
    assert "Traceback" not in said and AGAIN in said
    left = sweep.epochs()
    sweep.start()
    sweep.until(lambda: sweep.gone_on(left))
    assert ledger_states(sweep.folder, NAME) == ["RUNNING"] * 2
    _, said = sweep.signal(signal.SIGINT)
    assert "2 runs saved" in said and len(mlflow_runs(sweep.folder)) == 2
    nothing_runs(sweep)


@pytest.mark.parametrize("seconds", [0.0, 1.0, 3.0])
def test_while_it_starts_it_ends_cleanly_too(sweep: Sweep, seconds: float) -> None:
    sweep.start()
    sweep.until((sweep.folder / "runs" / NAME / "driver.json").exists)
    time.sleep(seconds)
    took, said = sweep.signal(signal.SIGINT)
    assert sweep.process is not None and sweep.process.returncode == 130, said
    assert took < CLEAN_S * busy()
    assert AGAIN in said and "Traceback" not in said
    assert not sweep.survivors(2 * busy())


def test_while_features_are_computed_it_keeps_those_that_are_done(sweep: Sweep) -> None:
    store = open_store("tiny", sweep.folder / "data")
    form: dict[str, Any] = {"width": 64, "depth": 4, "heads": 4}
    encoder = build_encoder("hypersl", store.bands, torch.as_tensor(store.wavelengths_nm), **form)
    save_file(encoder.state_dict(), sweep.folder / "encoder.safetensors")
    weights = str(sweep.folder / "encoder.safetensors")
    recipe = {"name": "mine", "encoder": {"name": "hypersl", "weights": weights} | form, "decoder": {"name": "mlp"}}
    axes = {"dataset": ["tiny"], "strategy": [recipe]}
    write_experiment(sweep.folder, **LONG | {"axes": axes, "fixed": {"batch": 256, "adapter": "frozen"}})
    sweep.start()
    cache = sweep.folder / "data" / ".features"

    def computed() -> int:
        return sum(images_done(partial.with_suffix("")) for partial in cache.glob("*.partial"))

    sweep.until(lambda: computed() > 1)
    took, said = sweep.signal(signal.SIGINT)
    assert sweep.process is not None and sweep.process.returncode == 130, said
    assert took < CLEAN_S * busy()
    assert "no run had been started" in said and AGAIN in said and "Traceback" not in said
    assert not sweep.survivors(2 * busy())
    done = computed()
    sweep.start()
    sweep.until(lambda: computed() > done)
    sweep.signal(signal.SIGINT, signal.SIGINT, pause=0.1)


def test_runs_that_do_not_react_are_left_and_go_on_from_their_checkpoints(sweep: Sweep) -> None:
    sweep.start()
    sweep.until(sweep.at_work)
    assert sweep.process is not None
    below = psutil.Process(sweep.process.pid).children(recursive=True)
    for process in below:
        if "ImplicitFunc" in " ".join(process.cmdline()[:1]):
            process.suspend()  # as in a call that takes minutes
    took, said = sweep.signal(signal.SIGINT)
    assert sweep.process.returncode == 130, said
    assert 5 < took < CLEAN_S * busy()
    assert "4 of 6 runs" in said or "6 of 6 runs" in said
    nothing_runs(sweep)


def test_a_cap_stops_it_as_cleanly_and_a_higher_one_lets_it_go_on(sweep: Sweep) -> None:
    write_experiment(sweep.folder, **LONG, caps={"device_hours": 90 / 3600})  # counted from when a run is handed out
    sweep.start()
    assert sweep.process is not None
    _, err = sweep.process.communicate(timeout=240)
    assert sweep.process.returncode == 1, err
    assert "caps.device_hours" in err and "2 runs saved" in err and AGAIN in err and "Traceback" not in err
    nothing_runs(sweep)
    write_experiment(sweep.folder, **LONG, caps={"device_hours": 1e-6})
    again = hsray(sweep.folder, "sweep", sweep.experiment)
    assert again.returncode == 1 and "nothing was started" in again.stderr
    write_experiment(sweep.folder, **LONG, caps={"hours": 1})
    before = sweep.epochs()
    sweep.start()
    sweep.until(lambda: sum(sweep.epochs()) > sum(before) + 3)
    sweep.signal(signal.SIGINT)


def test_the_second_start_is_refused_and_names_the_first(sweep: Sweep) -> None:
    sweep.start()
    sweep.until((sweep.folder / "runs" / NAME / "driver.json").exists)
    assert sweep.process is not None
    second = hsray(sweep.folder, "sweep", sweep.experiment)
    assert second.returncode == 2
    assert f"process {sweep.process.pid} on " in second.stderr and "hsray sweep" in second.stderr
    redo = hsray(sweep.folder, "redo", sweep.experiment, "mlp")
    assert redo.returncode == 2 and ("running already" in redo.stderr or "has not run yet" in redo.stderr)
    sweep.signal(signal.SIGINT, signal.SIGINT, pause=0.1)
