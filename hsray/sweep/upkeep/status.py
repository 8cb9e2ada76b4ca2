"""Where a sweep stands, from its folder alone: nothing is written, and neither Ray nor torch nor data is needed."""

from __future__ import annotations

import itertools
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hsray.axes import axis_name, left_out
from hsray.digest import digest
from hsray.experiment import Experiment
from hsray.runlog import read_json
from hsray.sweep.control.lock import Driver, running_driver
from hsray.sweep.control.stopping import stop_requested

if TYPE_CHECKING:
    from hsray.sweep.cells import Cell

CELLS = "cells.json"
REDO = "redo.json"  # hsray.sweep.redo, which needs torch
SCORE = "val/jaccard_macro"
TAIL = 8192  # bytes of a log that hold its last epoch


@dataclass
class Counts:
    """Runs of one kind by state. `open` ones were begun and wait for the next command; they are missing too."""

    planned: int
    done: int = 0
    running: int = 0
    failed: int = 0
    open: int = 0

    @property
    def missing(self) -> int:
        return max(0, self.planned - self.done - self.running - self.failed)


@dataclass(frozen=True)
class LiveRun:
    """A run under way: epochs done of those allowed, the last validation score, the last sign of life (seconds)."""

    name: str
    epoch: int
    epochs: int
    score: float | None
    seen: float


@dataclass
class CellStatus:
    """One cell. `where` is `current`, `new` (not begun, since the file was changed) or `not in the file` (any more)."""

    cell: str
    axes: dict[str, Any]
    trials: Counts
    finals: Counts
    where: str = "current"
    best: float | None = None
    live: list[LiveRun] = field(default_factory=list)


@dataclass(frozen=True)
class SweepStatus:
    """A sweep. Times are seconds since 1970; `older` counts runs of definitions and attempts that no longer count."""

    name: str
    folder: Path
    driver: Driver | None
    stopping: bool
    seen: float | None
    cells: list[CellStatus]
    older: int
    redo: bool = False  # a repetition was asked for, and has not begun


def cells_told(experiment: Experiment, cells: list[Cell], folder: Path) -> list[dict[str, Any]]:
    """What the sweep notes for those who only read its folder: its cells, how many runs each gets, which repetitions
    it knows of."""
    seeds, known = experiment.final.seeds, _asked_for(folder)
    return [
        {
            "cell": cell.id,
            "axes": cell.axes,
            "trials": experiment.budget.trials if cell.space else 1,
            "finals": 0 if cell.searches_fraction else seeds,
            "redo": known,
        }
        for cell in cells
    ]


def sweep_status(experiment: Experiment, runs_root: Path, driver: Driver | None = None) -> SweepStatus:
    """Read the folder of a sweep, which need not have begun. `driver` runs it, where the folder is a copy."""
    folder = runs_root / experiment.name
    driver = driver or running_driver(folder)
    since = (folder / "driver.json").stat().st_mtime if driver and (folder / "driver.json").exists() else None
    told = _told(experiment, folder)
    found = [_CellReader(one, folder / "cells" / one.cell, since) for one in told]
    known = {one.cell for one in told}
    others = [path for path in (folder / "cells").glob("*") if path.name not in known]
    older = sum(len(list(path.glob("*/spec.json"))) for path in others) + sum(one.older for one in found)
    seen = max((one.seen for one in found if one.seen), default=None)
    cells = [one.status for one in found]
    for one in cells:
        if driver is None and one.where == "not in the file":  # what is left of it will not be run
            for counts in (one.trials, one.finals):
                counts.planned = counts.done + counts.failed
    redo = _asked_for(folder) not in {one.get("redo") for one in read_json(folder / CELLS) or [{}]}
    return SweepStatus(experiment.name, folder, driver, stop_requested(folder), seen, cells, older, redo)


def _asked_for(folder: Path) -> str | None:
    """A hash of the repetitions asked for; None where none was. A copy of the folder may have other times."""
    path = folder / REDO
    return digest(path.read_text("utf-8", errors="replace")) if path.exists() else None


def _told(experiment: Experiment, folder: Path) -> list[CellStatus]:
    """The cells as the sweep noted them, else as its folders are called; with what the file says beyond that."""
    noted = read_json(folder / CELLS)
    if noted is None:
        noted = [{"cell": path.name, "axes": _axes_of(path.name)} for path in sorted((folder / "cells").glob("*"))]
    trials = experiment.budget.trials if experiment.search else 1
    finals = 0 if "fraction" in experiment.search else experiment.final.seeds
    found = [
        CellStatus(
            one["cell"],
            _in_order(one["axes"], experiment),
            Counts(one.get("trials", trials)),
            Counts(one.get("finals", finals)),
        )
        for one in noted
    ]
    combinations = [
        dict(zip(experiment.axes, values, strict=True)) for values in itertools.product(*experiment.axes.values())
    ]
    wanted = [chosen for chosen in combinations if not left_out(experiment.without, chosen)]
    for one in found:
        if not any(_is(one, chosen) for chosen in wanted):
            one.where = "not in the file"
    for chosen in wanted:
        if not any(_is(one, chosen) for one in found):
            names = {axis: axis_name(value) for axis, value in chosen.items()}
            found.append(CellStatus("", names, Counts(trials), Counts(finals), "new"))
    return found


def _in_order(axes: dict[str, Any], experiment: Experiment) -> dict[str, Any]:
    """The axes as the file has them."""
    return dict(sorted(axes.items(), key=lambda item: [*experiment.axes, item[0]].index(item[0])))


def _is(one: CellStatus, chosen: dict[str, Any]) -> bool:
    """Is the cell the one of these axis values? It lacks those axes that mean nothing to its strategy."""
    for axis, value in one.axes.items():
        names = {axis_name(chosen[axis]), Path(axis_name(chosen[axis])).name} if axis in chosen else {str(value)}
        if str(value) not in names:
            return False
    return True


def _axes_of(cell: str) -> dict[str, str]:
    return dict(part.split("=", 1) for part in cell.rsplit("@", 1)[0].split(",") if "=" in part)


class _CellReader:
    """Reads the runs of a cell's folder; `since` is when the driver that lives started, None where none does."""

    def __init__(self, status: CellStatus, folder: Path, since: float | None) -> None:
        self.status, self._since = status, since
        self.seen, self.older = 0.0, 0
        finals: dict[str, tuple[float, Path]] = {}
        if not status.cell or not folder.is_dir():
            return
        with os.scandir(folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                if entry.name.startswith("trial-"):
                    self._count(path, status.trials)
                elif entry.name.startswith("final-"):
                    # Another best configuration, or another attempt: the last that was begun under a seed counts.
                    seed, begun = entry.name.split("-")[1], _mtime(path / "spec.json")
                    self.older += seed in finals
                    finals[seed] = max(finals.get(seed, (begun, path)), (begun, path))
        for _, path in finals.values():
            self._count(path, status.finals)
        status.trials.planned = max(status.trials.planned, status.trials.done + status.trials.failed)

    def _count(self, run: Path, counts: Counts) -> None:
        try:
            with (run / "result.json").open("rb") as file:
                result = json.load(file)
            state, score, ended = result["state"], result["metrics"].get(SCORE), result["ended"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # not ended; a broken one is the doctor's
            self._open(run, counts)
            return
        self.seen = max(self.seen, ended)
        counts.failed += state == "FAILED"
        counts.done += state != "FAILED"
        if counts is self.status.trials:
            self._better(score)

    def _open(self, run: Path, counts: Counts) -> None:
        begun, logged = _mtime(run / "spec.json"), _mtime(run / "epochs.jsonl")
        self.seen = max(self.seen, begun, logged)
        if not begun:
            return
        last = _last_epoch(run / "epochs.jsonl")
        score = last["metrics"].get(SCORE) if last else None
        if counts is self.status.trials:
            self._better(score)
        if self._since is None or begun < self._since - 1:  # its driver has died, or not come back to it yet
            counts.open += 1
            return
        counts.running += 1
        epochs = ((read_json(run / "spec.json") or {}).get("params") or {}).get("epochs", 0)
        done = last["epoch"] + 1 if last else 0
        self.status.live.append(LiveRun(run.name, done, epochs, score, max(begun, logged)))

    def _better(self, score: float | None) -> None:
        if score is not None and (self.status.best is None or score > self.status.best):
            self.status.best = score


def _last_epoch(log: Path) -> dict[str, Any] | None:
    """The last whole line."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            lines = file.read().split(b"\n")
    except FileNotFoundError:
        return None
    for line in reversed(lines):
        try:
            record = json.loads(line)
        except ValueError:  # torn, or the part of a line
            continue
        if isinstance(record, dict) and {"epoch", "metrics"} <= record.keys():
            return record
    return None


def _mtime(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
