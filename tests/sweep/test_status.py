"""Where a sweep stands is read from its folder: without data, Ray, torch, and without writing anything."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hsray.commands.status import print_status
from hsray.experiment import load_experiment, parse_experiment
from hsray.runlog import write_json
from hsray.sweep.cells import cells as make_cells
from hsray.sweep.control.lock import only_driver
from hsray.sweep.control.stopping import request_stop
from hsray.sweep.upkeep.status import Counts, cells_told, sweep_status
from tests.sweep.sweeps import write_experiment
from tests.tracking.folders import FakeRun

FILE: dict[str, Any] = {
    "name": "demo",
    "task": "segmentation",
    "axes": {"dataset": ["hyko2"], "strategy": ["runet", "hypersl"], "fraction": [0.25]},
    "search": {"lr": {"log": [1e-4, 1e-2]}},
    "budget": {"trials": 4},
    "final": {"seeds": 2},
}


def run(sweep: Path, kind: str = "trial", number: int = 0, strategy: str = "runet", **more: Any) -> FakeRun:
    return FakeRun(sweep, kind, number, dataset="hyko2", strategy=strategy, **more).start()


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """runet: two trials ended, one failed, one open; one final. hypersl: one trial open."""
    folder = tmp_path / "runs" / "demo"
    folder.mkdir(parents=True)
    run(folder, number=0).epochs(0, 3).end(**{"val/jaccard_macro": 0.3})
    run(folder, number=1).epochs(0, 2).end("PRUNED", **{"val/jaccard_macro": 0.6})
    run(folder, number=2).end("FAILED", "the loss is nan", **{"val/jaccard_macro": 0.0})
    run(folder, number=3).epochs(0, 5)
    run(folder, "final", 0).end()
    opened = run(folder, number=0, strategy="hypersl").epochs(0, 80)
    with (opened.folder / "epochs.jsonl").open("a") as log:
        log.write('{"epoch": 80, "time": 1, "metr')  # torn
    noted = [{"cell": one.cell, "axes": one.axes, "trials": 4, "finals": 2} for one in cells(folder)]
    write_json(folder / "cells.json", noted)
    return folder


def cells(folder: Path) -> list[FakeRun]:
    return [FakeRun(folder, dataset="hyko2", strategy=strategy) for strategy in ("runet", "hypersl")]


def counted(counts: Counts) -> tuple[int, int, int, int, int]:
    return counts.done, counts.running, counts.failed, counts.open, counts.missing


def test_a_sweep_that_nobody_runs(sweep: Path) -> None:
    before = sorted((path, path.stat().st_mtime_ns) for path in sweep.rglob("*"))
    status = sweep_status(parse_experiment(FILE), sweep.parent)
    assert status.driver is None and status.seen is not None
    runet, hypersl = status.cells
    assert counted(runet.trials) == (2, 0, 1, 1, 1) and counted(runet.finals) == (1, 0, 0, 0, 1)
    assert counted(hypersl.trials) == (0, 0, 0, 1, 4) and counted(hypersl.finals) == (0, 0, 0, 0, 2)
    assert runet.best == 0.6 and hypersl.best == 0.79 and not runet.live
    assert sorted((path, path.stat().st_mtime_ns) for path in sweep.rglob("*")) == before


def test_a_running_sweep_and_what_its_driver_has_not_come_back_to(sweep: Path) -> None:
    """A run that was begun before this driver lived is not running."""
    old = sweep / "cells" / cells(sweep)[1].cell / "trial-0000" / "spec.json"
    os.utime(old, (1, 1))
    with only_driver(sweep, "demo"):
        request_stop(sweep, "enough")
        status = sweep_status(parse_experiment(FILE), sweep.parent)
    assert status.driver is not None and status.driver.pid == os.getpid() and status.stopping
    runet, hypersl = status.cells
    assert counted(runet.trials) == (2, 1, 1, 0, 0) and counted(hypersl.trials) == (0, 0, 0, 1, 4)
    [live] = runet.live
    assert (live.name, live.epoch, live.score) == ("trial-0003", 5, 0.04)


def test_what_the_file_and_the_folder_do_not_share_is_said(sweep: Path) -> None:
    """Another definition of a cell does not count, a new strategy is new, one that was taken out is named."""
    run(sweep, number=0, definition="00000000").end()
    changed = {**FILE, "axes": {**FILE["axes"], "strategy": ["runet", {"name": "mine", "decoder": {"name": "fc"}}]}}
    status = sweep_status(parse_experiment(changed), sweep.parent)
    assert [(one.axes["strategy"], one.where) for one in status.cells] == [
        ("runet", "current"),
        ("hypersl", "not in the file"),
        ("mine", "new"),
    ]
    assert status.older == 1 and counted(status.cells[0].trials) == (2, 0, 1, 1, 1)
    assert counted(status.cells[2].trials) == (0, 0, 0, 0, 4)


def test_the_last_final_of_a_seed_counts(sweep: Path) -> None:
    """A better configuration was found later, or the final was repeated."""
    os.utime(run(sweep, "final", 1, config="0ld").end("FAILED").folder / "spec.json", (1, 1))
    run(sweep, "final", 1, config="new").end()
    status = sweep_status(parse_experiment(FILE), sweep.parent)
    assert counted(status.cells[0].finals) == (2, 0, 0, 0, 0) and status.older == 1


def test_a_repetition_is_told_by_what_was_asked_for_and_not_by_times(tmp_path: Path) -> None:
    experiment = load_experiment(write_experiment(tmp_path, axes={"dataset": ["tiny"], "strategy": ["mlp"]}))
    found = make_cells(experiment, tmp_path / "data", "e.yaml")
    sweep = tmp_path / "runs" / experiment.name
    asked = sweep / "redo.json"
    sweep.mkdir(parents=True)

    def told() -> bool:
        return sweep_status(experiment, sweep.parent).redo

    assert not told()
    write_json(asked, {"cells": {"a": 2}})
    os.utime(asked, (1, 1))  # a copy of a store may have any times
    assert told()
    write_json(sweep / "cells.json", cells_told(experiment, found, sweep))
    os.utime(sweep / "cells.json", (0, 0))
    assert not told()
    write_json(asked, {"cells": {"a": 3}})
    assert told()


def test_a_sweep_that_has_not_begun(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "experiment.yaml"
    path.write_text(json.dumps(FILE))
    print_status(path, tmp_path / "runs", smoke=False, format="json")
    told = json.loads(capsys.readouterr().out)
    assert [one["trials"]["missing"] for one in told["cells"]] == [4, 4] and told["driver"] is None
    print_status(path, tmp_path / "runs", smoke=False, format="table")
    assert "not begun" in capsys.readouterr().out
    assert [one.name for one in tmp_path.iterdir()] == ["experiment.yaml"]


def test_by_name_and_at_80_columns(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (sweep / "experiment.yaml").write_text(json.dumps(FILE))
    monkeypatch.setenv("COLUMNS", "80")
    print_status(Path("demo"), sweep.parent, smoke=False, format="table")
    told = capsys.readouterr().out
    assert all(len(line) <= 80 for line in told.splitlines()) and "60.0 %" in told and "hypersl" in told


def test_it_imports_nothing_heavy(sweep: Path) -> None:
    (sweep / "experiment.yaml").write_text(json.dumps(FILE))
    code = (
        "import sys; from hsray.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "heavy = {'torch', 'ray', 'mlflow', 'optuna', 'sqlalchemy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    command = [sys.executable, "-c", code, "status", "demo", "--runs", str(sweep.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0 and "2/4" in done.stdout, done.stderr
