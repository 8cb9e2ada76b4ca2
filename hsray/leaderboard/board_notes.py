"""The board's footer: which method, which cells have no row and why, which runs are in none."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import polars as pl

from hsray.leaderboard.board_intervals import Intervals
from hsray.leaderboard.chosen import CELL, NAMED, some
from hsray.leaderboard.statistics import FEWEST

OVER = {"seeds": "seeds", "images": "test images", "both": "seeds and test images"}


def interval_notes(rows: pl.DataFrame, intervals: Intervals) -> list[str]:
    """Which interval it is, and which cells have none, and why."""
    if not rows.height:
        return []
    methods = rows["interval"].drop_nulls().unique().sort().to_list()
    named = f" ({'; '.join(methods)})" if methods else ""
    notes = [f"mean over seeds and 95 % interval over {OVER[intervals.over]}{named}"]
    few = rows.filter(pl.col("seeds") < FEWEST)
    if intervals.over != "images" and few.height:
        which = "all cells" if few.height == rows.height else some([cell.rsplit("@", 1)[0] for cell in few["cell"]])
        notes.append(f"no interval with fewer than {FEWEST} seeds: {which}")
    for why, cells in sorted(intervals.without.items()):
        notes.append(f"no interval, {why}: {'all cells' if len(cells) == rows.height else some(sorted(cells))}")
    return notes


def notes_on_cells(live: pl.DataFrame, finals: pl.DataFrame) -> list[str]:
    """Cells with one objective that have no row, or finals that are not complete; with states and reasons."""
    single = live.filter(pl.col("fraction").is_not_null())
    complete = finals.select(CELL).unique()
    others = single.filter(pl.col("kind") == "final", pl.col("state") != "complete")
    whole = single.join(complete, on=CELL, how="anti", maintain_order="left")
    partly = others.join(complete, on=CELL, how="semi", maintain_order="left")
    notes = [(_name(cell), f"{_states(cell)} among the finals{_reasons(cell)}") for cell in _cells(partly)]
    notes += [(_name(cell), _without_row(cell)) for cell in _cells(whole)]
    if len(notes) <= NAMED:
        return [f"{name}: {what}" for name, what in sorted(notes)]
    counted: dict[str, list[str]] = {}
    for name, what in sorted(notes):
        counted.setdefault(what, []).append(name)
    return [f"{len(names)} cells: {what}: {some(names)}" if len(names) > 1 else f"{names[0]}: {what}"
            for what, names in sorted(counted.items(), key=lambda one: -len(one[1]))]  # fmt: skip


def notes_on_runs(frame: pl.DataFrame, live: pl.DataFrame) -> list[str]:
    """Runs that no row counts although nothing is wrong with them."""
    counted = dict(live.group_by("state").len().iter_rows())
    notes = []
    if running := counted.get("running", 0):
        notes.append(f"{running} {runs(running)} still running; they count once they have ended")
    if killed := counted.get("killed", 0):
        notes.append(f"{killed} {runs(killed)} not used: killed, and not taken up again so far")
    if "source" in frame.columns:
        homes = frame.group_by("experiment").agg(pl.col("source").unique().sort()).sort("experiment")
        for name, sources in homes.filter(pl.col("source").list.len() > 1).iter_rows():
            notes.append(f"{len(sources)} experiments are called {name}, kept apart: {', '.join(sources)}")
    return notes


def runs(count: int) -> str:
    return "run" if count == 1 else "runs"


def _cells(frame: pl.DataFrame) -> Iterable[pl.DataFrame]:
    return frame.partition_by(CELL, maintain_order=True)


def _name(cell: pl.DataFrame) -> str:
    return cell["cell_name"][0]


def _without_row(cell: pl.DataFrame) -> str:
    others = cell.filter(pl.col("kind") == "final")
    trials = cell.filter(pl.col("kind") == "trial")
    failed = trials.filter(pl.col("state") == "failed")
    if others.height:
        return f"no final is complete ({_states(others)}){_reasons(others)}"
    if trials.height and failed.height == trials.height:
        return f"every trial failed{_reasons(failed)}"
    return f"no finals yet (trials: {_states(trials)})"


def _states(runs: pl.DataFrame) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(Counter(runs["state"].to_list()).items())) or "none"


def _reasons(runs: pl.DataFrame) -> str:
    found = Counter(reason for reason in runs["reason"].to_list() if reason)
    return f": {'; '.join(f'{reason} ({count}×)' for reason, count in found.most_common(3))}" if found else ""
