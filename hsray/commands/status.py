"""What status does and prints."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape
from rich.table import Table

from hsray.commands.console import out
from hsray.errors import RequestError
from hsray.experiment import load_experiment
from hsray.sweep.upkeep.words import STATES, ago, total

if TYPE_CHECKING:
    from hsray.sweep.upkeep.status import CellStatus, Counts, SweepStatus

WIDE = 110


def print_status(experiment: Path, runs_at: str, *, smoke: bool, format: str) -> None:
    from hsray.runlog import read_json
    from hsray.storage import is_remote, local_runs
    from hsray.sweep.control.lock import DRIVER, Driver
    from hsray.sweep.upkeep.status import sweep_status

    given = experiment.is_file()
    name = load_experiment(experiment, smoke=smoke).name if given else str(experiment)
    runs = local_runs(runs_at, name)
    kept = runs / name / "experiment.yaml"  # a sweep's name: its file as it was last started
    if not given and not kept.is_file():
        what = f"there is no experiment file '{experiment}', and no sweep of this name under {runs_at}"
        raise RequestError(what, do="check the path or the name, or give --runs")
    loaded = load_experiment(experiment if given else kept, smoke=smoke)
    told = read_json(runs / name / DRIVER) if is_remote(runs_at) else None
    status = sweep_status(loaded, runs, Driver(**told) if told else None)
    where = f"{str(runs_at).rstrip('/')}/{name}" if is_remote(runs_at) else str(status.folder)
    if format == "json":
        print(json.dumps(_as_json(status, where), indent=1))
        return
    console = out()
    if status.cells:
        console.print(_table(status, wide=console.width >= WIDE), highlight=False)
        console.print()
    for line in _lines(status, where):
        console.print(line, highlight=False)


def _table(status: SweepStatus, *, wide: bool) -> Table:
    """Where it is not `wide`, without the states that nothing is in."""
    rows = {"trials": [one.trials for one in status.cells], "finals": [one.finals for one in status.cells]}
    used = {
        kind: [
            s
            for s in STATES
            if s in ("done", "missing") or (wide and s != "open") or any(getattr(c, s) for c in counts)
        ]
        for kind, counts in rows.items()
    }
    table = Table(box=None, pad_edge=False)
    table.add_column("\ncell", overflow="fold", min_width=16)
    for kind, states in used.items():
        for number, state in enumerate(states):
            table.add_column(f"{kind if number == 0 else ''}\n{state}", justify="right", no_wrap=wide)
    table.add_column("best\nval. J", justify="right", no_wrap=True)
    for one in status.cells:
        name = escape("  ".join(map(str, one.axes.values())))
        note = "" if one.where == "current" else f"  [yellow]({one.where})[/]"
        best = "–" if one.best is None else f"{100 * one.best:.1f} %"
        table.add_row(name + note, *_cells(one.trials, used["trials"]), *_cells(one.finals, used["finals"]), best)
    if len(status.cells) > 1:
        totals = [text for kind, counts in rows.items() for text in _cells(total(counts), used[kind])]
        table.add_row("all", *totals, "", style="bold")
    return table


def _cells(counts: Counts, states: list[str]) -> list[str]:
    styles = {"running": "cyan", "failed": "red", "open": "yellow"}
    shown = []
    for state in states:
        number = getattr(counts, state)
        text = f"{number}/{counts.planned}" if state == "done" else str(number or "·")
        shown.append(f"[{styles[state]}]{text}[/]" if number and state in styles else text)
    return shown


def _lines(status: SweepStatus, where: str) -> list[str]:
    now = time.time()
    lines = []
    if status.driver is not None:
        lines.append(f"[green]running:[/] {escape(str(status.driver))}")
        if status.stopping:
            lines.append("[yellow]stopping:[/] its runs were asked to save and end")
    elif status.folder.is_dir():
        left = sum(counts.missing for one in status.cells for counts in (one.trials, one.finals))
        lines.append(
            "not running; " + (f"{left} runs are missing: `hsray sweep` goes on" if left else "nothing is missing")
        )
    else:
        lines.append(f"not begun: there is nothing at {escape(where)}")
    if status.seen:
        lines.append(f"last sign of life: {ago(now - status.seen)} ago")
    for one in status.cells:
        for run in one.live:
            of = f" of {run.epochs}" if run.epochs else ""
            score = "" if run.score is None else f", {100 * run.score:.1f} %"
            cell = "  ".join(map(str, one.axes.values()))
            lines.append(f"  {escape(cell)}  {run.name}: epoch {run.epoch}{of}{score}, seen {ago(now - run.seen)} ago")
    if status.redo:
        lines.append("a repetition was asked for: `hsray sweep` begins it")
    if status.older:
        lines.append(f"beside these: {status.older} runs of earlier definitions or attempts, which do not count")
    return lines


def _as_json(status: SweepStatus, where: str) -> dict:
    return {
        "sweep": status.name,
        "folder": where,
        "driver": asdict(status.driver) if status.driver else None,
        "stopping": status.stopping,
        "last_sign_of_life": status.seen,
        "cells": [_cell_json(one) for one in status.cells],
        "older_runs": status.older,
        "repetition_asked_for": status.redo,
    }


def _cell_json(one: CellStatus) -> dict:
    counts = {
        kind: asdict(found) | {"missing": found.missing}
        for kind, found in (("trials", one.trials), ("finals", one.finals))
    }
    rest = {"best_validation_jaccard": one.best, "running": [asdict(run) for run in one.live]}
    return {"cell": one.cell, "axes": one.axes, "where": one.where} | counts | rest
