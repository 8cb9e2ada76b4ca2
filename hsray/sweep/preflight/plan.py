"""What a sweep will take: runs, device-hours, memory and disk; and what cannot work, all at once."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch

from hsray.errors import RequestError
from hsray.experiment import Experiment
from hsray.runlog import RESULT
from hsray.sweep.cells import Cell
from hsray.sweep.cluster.needs import Need, Node
from hsray.sweep.jobs import final_folders
from hsray.sweep.preflight.disk import Room, missing_bytes, room, wanted_features
from hsray.sweep.preflight.memory import METHOD, Memories, TrialMemory
from hsray.sweep.preflight.past import Expected, PastRuns

HOUR = 3600.0


@dataclass(frozen=True)
class CellPlan:
    """Runs of a cell as (ended, planned), and what one of those that are left will take."""

    cell: Cell
    trials: tuple[int, int]
    finals: tuple[int, int]
    expected: Expected | None
    memory: TrialMemory

    @property
    def device_hours(self) -> float | None:
        """Of all that is left; None where no past run tells. 0 where nothing is left."""
        trials, finals = self.trials[1] - self.trials[0], self.finals[1] - self.finals[0]
        if trials <= 0 and finals <= 0:
            return 0.0
        if self.expected is None:
            return None
        return (max(0, trials) * self.expected.trial + max(0, finals) * self.expected.final) / HOUR


@dataclass(frozen=True)
class Plan:
    """All cells, and the room that they will take: on disks, and in a store."""

    cells: list[CellPlan]
    rooms: list[Room]
    stored: dict[str, int]  # bytes that go to the store of the runs, by what for; empty where they lie in a folder

    @property
    def known_hours(self) -> tuple[float, int]:
        """Device-hours of the cells whose past tells, and the number of the others."""
        told = [cell.device_hours for cell in self.cells]
        return sum(filter(None, told)), told.count(None)

    def as_json(self) -> dict[str, Any]:
        """Bytes, hours; null where it is not known."""
        hours, unknown = self.known_hours
        return {
            "cells": [_cell_json(one) for one in self.cells],
            "trials": sum(one.trials[1] for one in self.cells),
            "finals": sum(one.finals[1] for one in self.cells),
            "device_hours": None if unknown else hours,
            "memory_method": METHOD,
            "disk": [{"folder": str(r.folder), "what": r.what, "bytes": r.bytes, "free": r.free} for r in self.rooms],
            "store": [{"what": what, "bytes": size} for what, size in self.stored.items()],
        }


def make_plan(
    experiment: Experiment,
    cells: list[Cell],
    memories: Memories,
    runs_root: Path,
    data_root: Path,
    count: int,
    *,
    local: bool,
) -> Plan:
    """Read what is there; nothing is written. `count` runs are under way at a time.

    Where the runs are not `local`, `runs_root` is a copy of what lies in their store.
    """
    past, folder = PastRuns(runs_root), runs_root / experiment.name
    found = [
        CellPlan(cell, *runs_of(experiment, cell, folder), past.expected(cell), memories.of(cell)) for cell in cells
    ]
    taken = rooms(experiment, cells, memories, folder, data_root / ".features", count, local=local)
    return Plan(found, taken, {} if local else run_bytes(experiment, cells, memories, folder, count))


def runs_of(experiment: Experiment, cell: Cell, folder: Path) -> tuple[tuple[int, int], tuple[int, int]]:
    """Trials and finals of a cell, each as (ended, planned)."""
    trials = len(list(cell.folder(folder).glob("trial-*/result.json")))
    seeds = range(0 if cell.searches_fraction else experiment.final.seeds)
    finals = [any((run / RESULT).exists() for run in final_folders(cell, seed, folder)) for seed in seeds]
    return (trials, max(trials, experiment.budget.trials if cell.space else 1)), (sum(finals), len(seeds))


def rooms(
    experiment: Experiment,
    cells: list[Cell],
    memories: Memories,
    folder: Path,
    cache: Path,
    count: int,
    *,
    local: bool = True,
) -> list[Room]:
    """Features that are missing; and what runs leave in `folder`, where they are `local` and not in a store."""
    features = room(cache, "features", missing_bytes(wanted_features(cells, cache)))
    if not local:
        return [features]
    left = run_bytes(experiment, cells, memories, folder, count)
    return [features, *(room(folder, what, size) for what, size in left.items())]


def run_bytes(
    experiment: Experiment, cells: list[Cell], memories: Memories, folder: Path, count: int
) -> dict[str, int]:
    """Bytes of the checkpoints of `count` runs at a time, and of weights that will be kept."""
    kept, largest = 0, 0
    for cell in cells:
        memory = memories.of(cell)
        left, finals = (planned - ended for ended, planned in runs_of(experiment, cell, folder))
        trials = {"best": min(left, 1), "finals": 0, "all": left}[experiment.keep]
        kept += memory.parameters * (trials + finals)
        if left + finals:
            largest = max(largest, memory.checkpoint)
    return {"checkpoints": 2 * largest * count, "weights": kept}  # a new one is written before the old one goes


def need_problems(kinds: list[Need]) -> list[RequestError]:
    """Shares of GPUs that Ray or NCCL refuse, though there is room for them."""
    found = []
    for kind in kinds:
        if kind.gpu > 1 and kind.gpu != int(kind.gpu):
            found.append(
                RequestError(
                    f"{kind.gpu:g} GPUs cannot be given to a worker",
                    where="resources.gpus",
                    do="a share of one (0.5), or a whole number",
                )
            )
        if kind.workers > 1 and 0 < kind.gpu < 1:
            found.append(
                RequestError(
                    f"{kind.workers} workers of one run would share a GPU, which NCCL refuses",
                    where="resources.gpus",
                    do="one GPU a worker, or one worker (workers: 1)",
                )
            )
    return found


def this_machine() -> list[Node]:
    """What a Ray of our own would have, without starting it."""
    return [Node({"CPU": float(len(os.sched_getaffinity(0))), "GPU": float(torch.cuda.device_count())})]


def _cell_json(one: CellPlan) -> dict[str, Any]:
    return {
        "cell": one.cell.id,
        "axes": one.cell.axes,
        "searched": list(one.cell.space),
        "trials": dict(zip(("ended", "planned"), one.trials, strict=True)),
        "finals": dict(zip(("ended", "planned"), one.finals, strict=True)),
        "device_hours": one.device_hours,
        "expected": asdict(one.expected) if one.expected else None,
        "memory": asdict(one.memory) | {"total": one.memory.total},
    }
