"""What plan does and prints."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from hsray.commands.console import err, out
from hsray.errors import RequestError, problems

if TYPE_CHECKING:
    from rich.console import Console

    from hsray.experiment import Experiment
    from hsray.sweep.cells import Cell
    from hsray.sweep.cluster.cluster import Slots
    from hsray.sweep.preflight.past import Expected
    from hsray.sweep.preflight.plan import CellPlan, Plan

WIDE = 110


def print_plan(experiment: Path, data: Path, runs_at: str, *, smoke: bool, format: str) -> None:
    from hsray.datasets.check import image_problems
    from hsray.experiment import load_experiment
    from hsray.storage import is_remote, local_runs
    from hsray.sweep.cells import cells
    from hsray.sweep.preflight.disk import room_problems
    from hsray.sweep.preflight.memory import Memories
    from hsray.sweep.preflight.plan import make_plan
    from hsray.sweep.redo import Attempts

    loaded = load_experiment(experiment, smoke=smoke)
    runs = local_runs(runs_at, loaded.name)
    where = None if is_remote(runs_at) else (runs / loaded.name).resolve()
    memories = Memories(activations=True)
    with err.status("building and running every model once"):
        found = cells(loaded, data.resolve(), str(experiment), memories)
    found = Attempts.read(runs / loaded.name).applied(found)
    with err.status("reading every image's ends and labels"):
        wrong = image_problems(cell.store for cell in found)
    with err.status("asking the nodes"), _slots(loaded, found, where, data, wrong) as slots:
        count, place = (slots.count, _place(slots)) if slots else (1, "")
    plan = make_plan(loaded, found, memories, runs.resolve(), data.resolve(), count, local=where is not None)
    wrong += room_problems(plan.rooms)
    if wrong:
        raise problems(wrong, f"{experiment} cannot be run")
    if format == "json":
        print(json.dumps(plan.as_json() | {"runs_at_a_time": count}, indent=1))
    else:
        _show(out(), loaded, plan, count, place)
    _warn_of_contamination(found)
    _say_what_lies_elsewhere(found, data.resolve())


@contextmanager
def _slots(
    experiment: Experiment, cells: list[Cell], folder: Path | None, data: Path, wrong: list[RequestError]
) -> Iterator[Slots | None]:
    """What fits into the cluster of RAY_ADDRESS, or into this machine, without starting a Ray; adds to `wrong`."""
    from hsray.sweep.cluster.cluster import Slots, cluster
    from hsray.sweep.preflight.plan import need_problems, this_machine
    from hsray.sweep.preflight.preflight import cluster_problems, shared_folders

    try:
        if os.environ.get("RAY_ADDRESS"):
            with cluster(experiment.resources) as slots:
                cache = data.resolve() / ".features"
                shared = shared_folders(cells, folder or cache, cache)[0 if folder else 1 :]  # a store is no folder
                wrong += cluster_problems(experiment, cells, shared)
                wrong += need_problems(slots.kinds)
                yield slots
        else:
            slots = Slots(experiment.resources, this_machine)
            wrong += need_problems(slots.kinds)
            yield slots
    except RequestError as error:
        wrong.append(error)
        yield None


def _show(console: Console, experiment: Experiment, plan: Plan, count: int, place: str) -> None:
    from hsray.strategies.features import size_text
    from hsray.sweep.preflight.memory import SUMMARY

    wide = console.width >= WIDE
    table = Table(box=None, pad_edge=False)
    table.add_column("cell", overflow="fold")
    if wide:
        table.add_column("searched", overflow="fold")
    for column in ("trials\nended", "finals\nended", "device-hours\nleft", "memory\na trial"):
        table.add_column(column, justify="right", no_wrap=True)
    if wide:
        table.add_column("hours from")
    for one in plan.cells:
        searched = [", ".join(one.cell.space)] if wide else []
        source = [_source(one.expected)] if wide else []
        counts = ("{}/{}".format(*one.trials), "{}/{}".format(*one.finals))
        table.add_row(_name(one), *searched, *counts, _hours(one.device_hours), size_text(one.memory.total), *source)
    console.print(table, highlight=False)
    trials, finals = (sum(one.trials[1] for one in plan.cells), sum(one.finals[1] for one in plan.cells))
    left = sum(max(0, planned - ended) for c in plan.cells for ended, planned in (c.trials, c.finals))
    lines = {
        "runs": f"{trials} trials and {finals} finals in {len(plan.cells)} cells, of at most "
        f"{experiment.budget.epochs} epochs; {left} are left, {count} at a time {place}",
        "device-hours": _total_hours(plan),
        "memory": SUMMARY,
        "disk": "\n".join(_disk(plan)) or "nothing more than logs",
    }
    console.print()
    grid = Table.grid(padding=(0, 2))
    for name, text in lines.items():
        grid.add_row(name, escape(text))
    console.print(grid, highlight=False)


def _total_hours(plan: Plan) -> str:
    hours, unknown = plan.known_hours
    if hours == 0 and not unknown:
        return "none: nothing is left to run"
    runs = sum(one.expected.runs for one in plan.cells if one.expected is not None)
    if unknown == len(plan.cells):
        return "unknown: no run of these strategies on these datasets lies in the runs folder"
    rest = f", and unknown for {unknown} cells without past runs" if unknown else ""
    return f"{_hours(hours)}, from {runs} past runs{rest}; features that are missing come on top"


def _disk(plan: Plan) -> Iterator[str]:
    from hsray.strategies.features import size_text

    for one in plan.rooms:
        if one.bytes:
            yield f"{size_text(one.bytes)} of {one.what}, {size_text(one.free)} are free  ({one.folder})"
    stored = [f"{size_text(size)} of {what}" for what, size in plan.stored.items() if size]
    if stored:
        yield f"{' and '.join(stored)} go to the store of the runs"


def _place(slots: Slots) -> str:
    where = "on the cluster" if os.environ.get("RAY_ADDRESS") else "on this machine"
    nodes = slots.nodes()
    cpus, gpus = (sum(node.resources.get(kind, 0) for node in nodes) for kind in ("CPU", "GPU"))
    several = f"{len(nodes)} nodes, " if len(nodes) > 1 else ""
    return f"{where} ({several}{cpus:g} CPU, {gpus:g} GPU)"


def _name(one: CellPlan) -> str:
    return escape("  ".join(map(str, one.cell.axes.values())))


def _source(expected: Expected | None) -> str:
    if expected is None:
        return "–"
    return f"{expected.runs} run{'s' if expected.runs > 1 else ''} of {expected.source}"


def _hours(hours: float | None) -> str:
    if hours is None:
        return "unknown"
    if hours == 0:
        return "–"
    return f"{hours:.1f} h" if hours >= 1 else f"{60 * hours:.0f} min" if hours >= 1 / 60 else "<1 min"


def _warn_of_contamination(found: list[Cell]) -> None:
    from hsray.sweep.jobs import contaminated

    for strategy, dataset, seen in sorted({(c.strategy.name, c.store.name, contaminated(c)) for c in found}):
        if seen:
            err.print(f"[yellow]contaminated:[/] the encoder of {escape(strategy)} has seen {escape(dataset)} ({seen})")


def _say_what_lies_elsewhere(found: list[Cell], data: Path) -> None:
    """An experiment file may name whole paths: whoever runs a stranger's file is told which."""
    from hsray.strategies.references import is_named

    encoders = [cell.strategy.encoder for cell in found]
    weights = [Path(one.weights) for one in encoders if one and one.weights and not is_named(one.weights)]
    stores = [cell.store.path for cell in found]
    elsewhere = {path for path in stores if not path.is_relative_to(data)}
    elsewhere |= {path for path in weights if not path.is_relative_to(Path.cwd())}
    for path in sorted(elsewhere):
        err.print(f"[yellow]from elsewhere:[/] {escape(str(path))}", highlight=False, soft_wrap=True)
