"""From runs to the comparison: one row a cell, and notes on all that is not in a row."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from typing import Any

import polars as pl

from hsray.leaderboard.interval import FEWEST, METHOD, mean_interval
from hsray.leaderboard.pareto import fronts
from hsray.scores import METRICS

CONTAMINATED = "‡"
CONTAMINATION = f"{CONTAMINATED} contaminated: the encoder's pretraining data hold this very dataset; not ranked"
OWN_AXES = ("dataset", "strategy", "fraction")


@dataclass(frozen=True)
class Board:
    """`rows`: one a cell with finals, scores and their intervals in percent, best mean Jaccard first within dataset and
    fraction. `fronts`: Pareto fronts of the cells that search the fraction. `notes`: what a reader must know besides.
    """

    experiment: str
    rows: pl.DataFrame
    fronts: pl.DataFrame
    more_axes: list[str]
    notes: list[str]


def table(runs: pl.DataFrame) -> Board:
    """The comparison that the runs of `load` amount to."""
    usable = runs.filter(pl.col("problem").is_null())
    rows, searched, notes = [], [], []
    current = _current_cells(usable)
    for cell in current:
        of_cell = usable.filter(pl.col("cell") == cell)
        axes = json.loads(of_cell["axes"][0])
        if "fraction" not in axes:
            searched.append(of_cell)
            continue
        finals = of_cell.filter(_counts())
        if len(finals):
            reads = usable.filter(pl.col("cell_name") == of_cell["cell_name"][0], pl.col(METRICS[0]).is_not_null())
            rows.append(_row(cell, axes, of_cell, finals, test_reads=len(reads)))
        notes += _cell_notes(of_cell, finals)
    board = pl.DataFrame(rows, infer_schema_length=None)
    more_axes = sorted({name for row in rows for name in json.loads(row["axes"])} - set(OWN_AXES))
    if rows:
        board = board.sort(
            ["dataset", "official", "fraction_percent", "jaccard_macro"], descending=[False, False, False, True]
        )
    found_fronts, front_notes = fronts(searched)
    marked = [*rows, *found_fronts.iter_rows(named=True)]
    contaminated = [CONTAMINATION] if any(row["contaminated"] for row in marked) else []
    notes = contaminated + _general_notes(rows) + notes + front_notes + _left_out(runs, current)
    experiment = runs["experiment"][0] if len(runs) else ""
    return Board(experiment, board, found_fronts, more_axes, notes)


def _counts() -> pl.Expr:
    return (pl.col("kind") == "final") & (pl.col("state") == "complete") & ~pl.col("superseded")


def _current_cells(usable: pl.DataFrame) -> list[str]:
    """Of every cell the definition that counts: the one with current finals, else the one that ran last."""
    if not len(usable):
        return []
    ranked = usable.group_by("cell_name", "cell").agg(_counts().any().alias("counts"), pl.col("started_ms").max())
    ranked = ranked.sort("counts", "started_ms", descending=True)
    return ranked.unique("cell_name", keep="first", maintain_order=True).sort("cell_name")["cell"].to_list()


def _row(cell: str, axes: dict[str, Any], of_cell: pl.DataFrame, finals: pl.DataFrame, test_reads: int) -> dict:
    trials = Counter(of_cell.filter(pl.col("kind") == "trial")["state"].to_list())
    label, value, official = _fraction(axes["fraction"])
    row = {
        "dataset": axes["dataset"],
        "fraction": label,
        "strategy": finals["strategy"][0],
        "family": finals["family"][0],
        "contaminated": bool(of_cell["contaminated"].any()),
        "task": finals["task"][0],
    }
    for metric in METRICS:
        ends = mean_interval((100 * finals[metric]).to_list())
        row |= dict(zip((metric, f"{metric}_low", f"{metric}_high"), ends, strict=True))
    return row | {
        "seeds": finals["seed"].n_unique(),
        **{f"trials_{state}": trials[state] for state in ("complete", "pruned", "failed")},
        "test_reads": test_reads,
        "device_seconds": of_cell.filter(~pl.col("superseded"))["device_seconds"].sum(),
        # The same features serve all runs of a cell; each run states what computing them took.
        "features_seconds": of_cell["features_seconds"].max() or 0.0,
        "fraction_percent": value,
        "official": official,
        "axes": json.dumps(axes),
        "cell": cell,
    }


def _fraction(fraction: float | str) -> tuple[str, float, bool]:
    """How a fraction is shown, its value in percent, and whether it is the official random subset."""
    if isinstance(fraction, str) and fraction.startswith("official:"):
        percent = float(fraction.removeprefix("official:"))
        return f"official {percent:g} %", percent, True
    percent = 100 * float(fraction)
    return f"{percent:g} %", percent, False


def _cell_notes(of_cell: pl.DataFrame, finals: pl.DataFrame) -> list[str]:
    name = of_cell["cell_name"][0]
    others = of_cell.filter(pl.col("kind") == "final", ~pl.col("superseded"), pl.col("state") != "complete")
    if len(finals):
        return [f"{name}: {_states(others)} among the finals" + _reasons(others)] if len(others) else []
    trials = of_cell.filter(pl.col("kind") == "trial")
    failed = trials.filter(pl.col("state") == "failed")
    if len(others):
        return [f"{name}: no final is complete ({_states(others)}){_reasons(others)}"]
    if len(trials) and len(failed) == len(trials):
        return [f"{name}: every trial failed{_reasons(failed)}"]
    return [f"{name}: no finals yet (trials: {_states(trials)})"]


def _states(runs: pl.DataFrame) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(Counter(runs["state"].to_list()).items())) or "none"


def _reasons(runs: pl.DataFrame) -> str:
    found = Counter(reason for reason in runs["reason"].to_list() if reason)
    return f": {'; '.join(f'{reason} ({count}×)' for reason, count in found.most_common(3))}" if found else ""


def _general_notes(rows: list[dict]) -> list[str]:
    few = [row["cell"].rsplit("@", 1)[0] for row in rows if row["seeds"] < FEWEST]
    notes = [f"{METHOD}; test reads: how often finals of a cell have read the test set."] if rows else []
    if few:
        which = "all cells" if len(few) == len(rows) else ", ".join(few)
        notes.append(f"no interval with fewer than {FEWEST} seeds: {which}")
    return notes


def _left_out(runs: pl.DataFrame, current: list[str]) -> list[str]:
    """What was read and stands in no row."""
    notes = []
    problems = Counter(runs["problem"].drop_nulls().to_list())
    for problem, count in sorted(problems.items()):
        notes.append(f"{count} {'run' if count == 1 else 'runs'} not used: {problem}")
    usable = runs.filter(pl.col("problem").is_null())
    old = len(usable.filter(~pl.col("cell").is_in(current)))
    if old:
        notes.append(f"{old} {'run' if old == 1 else 'runs'} of earlier definitions of these cells not used")
    return notes
