"""Published figures (published.toml) beside ours: which rows match, the difference, and what is to be known of them."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass, field, replace
from functools import cache
from importlib.resources import files
from typing import Any

import polars as pl

from hsray.leaderboard.table import Board
from hsray.scores import METRICS

DISPUTED = "†"


@dataclass(frozen=True)
class Published:
    """One published row: scores in percent by metric, those that were published, and those that the source itself
    contradicts (metric → the other figure and why)."""

    task: str
    dataset: str
    model: str
    input: str
    scores: dict[str, float]
    source: str
    disputed: dict[str, tuple[float, str]] = field(default_factory=dict)


@cache
def published_rows() -> tuple[Published, ...]:
    """All published rows, in the order of the file."""
    found = []
    for one in _content()["tables"]:
        disputed = {
            (d["dataset"], d["model"], d["input"], d["metric"]): (d["other"], d["why"]) for d in one.get("disputed", ())
        }
        for dataset, model, input_, *figures in one["rows"]:
            scores = {metric: float(f) for metric, f in zip(METRICS, figures, strict=True) if f != ""}
            keys = {metric: (dataset, model, input_, metric) for metric in scores}
            doubts = {metric: disputed[key] for metric, key in keys.items() if key in disputed}
            found.append(Published(one["task"], dataset, model, input_, scores, one["source"], doubts))
    return tuple(found)


def find_published(task: str, dataset: str, strategy: str) -> Published | None:
    """The row that this strategy's name stands for on this very dataset and split; None where nothing was published."""
    wanted = tuple(_content()["strategies"].get(strategy, ()))
    matching = (row for row in published_rows() if (row.task, row.dataset) == (task, dataset))
    return next((row for row in matching if (row.model, row.input) == wanted), None)


def against_published(board: Board) -> Board:
    """The board with columns `published_<metric>` and `difference_<metric>` (ours − published), null without a match.

    Published figures are of all training images, so only rows of the whole fraction match.
    """
    if not len(board.rows):
        return board
    columns: list[dict[str, Any]] = []
    matched: list[Published] = []
    for row in board.rows.iter_rows(named=True):
        whole = row["fraction_percent"] == 100 and not row["official"]
        found = find_published(row["task"], row["dataset"], row["strategy"]) if whole else None
        matched += [found] if found else []
        scores = found.scores if found else {}
        columns.append(
            {
                "published_model": found.model if found else None,
                "published_input": found.input if found else None,
                "published_disputed": ",".join(found.disputed) if found else "",
                **{f"published_{metric}": scores.get(metric) for metric in METRICS},
                **{f"difference_{m}": row[m] - scores[m] if m in scores else None for m in METRICS},
            }
        )
    schema: dict[str, Any] = {name: pl.String for name in ("published_model", "published_input", "published_disputed")}
    schema |= {f"{kind}_{metric}": pl.Float64 for kind in ("published", "difference") for metric in METRICS}
    beside = pl.DataFrame(columns, schema=schema)
    return replace(board, rows=board.rows.hstack(beside), notes=[*_notes(board, matched), *board.notes])


def _notes(board: Board, matched: list[Published]) -> list[str]:
    notes = [f"published: {source}" for source in dict.fromkeys(row.source for row in matched)]
    for row in matched:
        for metric, (other, why) in row.disputed.items():
            notes.append(
                f"{DISPUTED} {row.model}, {row.input}, {row.dataset}: {metric} {other:.2f} by itself too: {why}"
            )
    if not matched:
        notes.append("no published row has the dataset and model of a row here (all training images, named strategies)")
    here = {(row["task"], row["dataset"]) for row in board.rows.iter_rows(named=True)}
    for row in published_rows():
        if not row.input and (row.task, row.dataset) in here:
            figures = ", ".join(f"{metric} {value:.2f}" for metric, value in row.scores.items())
            notes.append(f"{row.dataset}, {row.task}: {row.model}: {figures} ({row.source})")
    if any(dataset == "hcv2" for _, dataset in here):
        notes.append("hcv2: the benchmark's rows are of another split of it, the dataset hcv2-iros2024 here")
    return notes


@cache
def _content() -> dict[str, Any]:
    return tomllib.loads(files(__package__).joinpath("published.toml").read_text("utf-8"))
