"""The board as sheets: a table for every dataset and fraction, Pareto fronts, ours against published."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import polars as pl

from hsray.errors import RequestError
from hsray.leaderboard.board_groups import comparable, grouped
from hsray.leaderboard.board_pivot import pivoted
from hsray.leaderboard.chosen import CONTAMINATED
from hsray.leaderboard.published import DISPUTED
from hsray.leaderboard.sheet import Column, Sheet
from hsray.leaderboard.table import TRIAL_STATES, Board
from hsray.scores import METRICS

HEADINGS = dict(zip(METRICS, ("accuracy", "mean acc.", "F1", "Jaccard"), strict=True))
GROUPS = ("dataset", "fraction")
EMPTY = "nothing to compare yet"


@dataclass(frozen=True)
class View:
    """How the board is laid out. `sort`: a column of `Board.rows`, with a minus for the largest first. `brief`: scores
    and seeds alone, and footnotes at every table, as a page of print wants it."""

    metric: str = "jaccard_macro"
    group_by: tuple[str, ...] = GROUPS
    sort: str | None = None
    pivot: str | None = None
    brief: bool = False


def board_sheets(board: Board, view: View | None = None) -> list[Sheet]:
    """The sheets, the board's notes below the last.

    Raises:
        RequestError: a column to group, sort or pivot by is not there; names those that are.
    """
    view = view or View()
    board, names = arranged(board, view), name_columns(board)
    if view.pivot and board.rows.height:
        found = pivoted(board.rows, view.pivot, view.metric, HEADINGS[view.metric], names, view.group_by)
    else:
        found = [_scores(board, title, rows, view) for title, rows in grouped(board.rows, view.group_by)]
        found += [_published(board, rows) for rows in _with_published(board)]
    found += [_front(title, rows) for title, rows in _fronts(board)]
    if not found:
        return [Sheet(EMPTY, pl.DataFrame(), (), tuple(board.notes))]
    if view.brief:
        found = [_footnoted(sheet) for sheet in found]
    notes = board.notes if view.brief or view.pivot or not board.rows.height else [*board.notes, _legend(view)]
    return [*found[:-1], replace(found[-1], notes=tuple(dict.fromkeys((*found[-1].notes, *notes))))]


def arranged(board: Board, view: View) -> Board:
    """The board with its rows in the view's order.

    Raises RequestError: a column to group, sort or pivot by is not there.
    """
    names = name_columns(board)
    for option, asked in (("--group-by", view.group_by), ("--pivot", (view.pivot,) if view.pivot else ())):
        _known(asked, names, option)
    return replace(board, rows=_sorted(board, view))


def name_columns(board: Board) -> list[str]:
    """The columns that tell rows apart, which one may group and pivot by."""
    return ["dataset", "fraction", "strategy", "family", *board.more_axes]


def _known(asked: Sequence[str], names: Sequence[str], option: str) -> None:
    for name in asked:
        if name not in names:
            raise RequestError(f"there is no column '{name}'", where=option, do=f"take one of: {', '.join(names)}")


def _sorted(board: Board, view: View) -> pl.DataFrame:
    rows = board.rows
    if view.sort is None:
        order = ["dataset", "official", "fraction_percent", view.metric, "experiment", "cell"]
        return rows.sort(order, descending=[one == view.metric for one in order])
    name = view.sort.removeprefix("-")
    _known([name], [one for one in rows.columns if one not in ("axes", "mark")], "--sort")
    keys: list[str | pl.Expr] = ["official", "fraction_percent"] if name == "fraction" else [name]
    if name != "fraction" and rows[name].dtype == pl.String:  # axes are text, though their values be numbers
        keys.insert(0, pl.col(name).cast(pl.Float64, strict=False))
    return rows.sort(keys, descending=view.sort.startswith("-"), nulls_last=True, maintain_order=True)


def _scores(board: Board, title: str, rows: pl.DataFrame, view: View) -> Sheet:
    names = [name for name in name_columns(board) if name not in view.group_by]
    names.sort(key=lambda name: name != "strategy")  # it leads
    columns = [Column(name, name, align="left", mark="mark" if name == names[0] else None) for name in names]
    best: Literal["high"] | None = "high" if comparable(rows) else None
    for metric in METRICS:
        ends = (f"{metric}_low", f"{metric}_high")
        columns.append(Column(metric, HEADINGS[metric], decimals=2, best=best, ends=ends, unit="%"))
    seeds = Column("seeds", "seeds")
    if view.brief:
        columns.append(seeds)
    else:
        columns += [
            Column(f"{view.metric}_sd", "sd", decimals=2),
            Column(f"{view.metric}_iqm", "IQM", decimals=2),
            seeds,
            Column("trials", "c/p/f"),
            Column("test_reads", "reads"),
            Column("device_seconds", "time", unit="s"),
            Column("features_seconds", "features", unit="s"),
        ]
    counts = pl.concat_str([f"trials_{state}" for state in TRIAL_STATES], separator="/")
    frame = rows.with_columns(counts.alias("trials"), (~pl.col("contaminated")).alias("ranked"))
    return Sheet(title, frame, tuple(columns), ranked="ranked")


def _legend(view: View) -> str:
    return (
        f"sd, IQM: standard deviation and interquartile mean of the {HEADINGS[view.metric]} over seeds; c/p/f: trials "
        "complete/pruned/failed; reads: how often finals of a cell have read the test set; time: of all its runs, on "
        "devices; features: computing a frozen encoder's"
    )


def _fronts(board: Board) -> list[tuple[str, pl.DataFrame]]:
    mark = pl.when("contaminated").then(pl.lit(" ‡")).otherwise(pl.lit(""))
    title = pl.concat_str("dataset", pl.lit(", "), "strategy", mark, pl.lit(" ("), "family", pl.lit("): Pareto front"))
    rows = board.fronts.with_columns(title.alias("title"))
    return [(key[0], of) for key, of in rows.partition_by(["title"], as_dict=True, maintain_order=True).items()]


def _front(title: str, rows: pl.DataFrame) -> Sheet:
    columns = (
        Column("labelled_images", "labelled images"),
        Column("jaccard_macro", "Jaccard, validation", decimals=2, unit="%"),
        Column("trial", "trial", align="left"),
    )
    return Sheet(title, rows.drop("title"), columns)


def _with_published(board: Board) -> list[pl.DataFrame]:
    """The rows that have a published one, by dataset."""
    if "published_model" not in board.rows.columns:
        return []
    matched = board.rows.filter(pl.col("published_model").is_not_null())
    return matched.partition_by("dataset", maintain_order=True)


def _published(board: Board, rows: pl.DataFrame) -> Sheet:
    named = pl.concat_str("published_model", pl.lit(", "), "published_input").alias("published_as")
    marks = [
        pl.when(pl.col("published_disputed").str.split(",").list.contains(metric))
        .then(pl.lit(DISPUTED)).otherwise(pl.lit("")).alias(f"disputed_{metric}")
        for metric in METRICS
    ]  # fmt: skip
    columns = [Column("strategy", "strategy", align="left", mark="mark")]
    columns += [Column(name, name, align="left") for name in board.more_axes]
    columns.append(Column("published_as", "published as", align="left"))
    for metric, heading in HEADINGS.items():
        columns += [
            Column(metric, f"{heading}, ours", decimals=2),
            Column(f"published_{metric}", "published", decimals=2, mark=f"disputed_{metric}"),
            Column(f"difference_{metric}", "diff.", decimals=2, signed=True),
        ]
    title = f"{rows['dataset'][0]}, ours against published (percent)"
    notes = [note for note in board.notes if note.startswith(DISPUTED) and f", {rows['dataset'][0]}:" in note]
    return Sheet(title, rows.with_columns(named, *marks), tuple(columns), tuple(notes))


def _footnoted(sheet: Sheet) -> Sheet:
    """With the meaning of the signs it shows, wherever the table ends up."""
    shown = "contaminated" in sheet.frame.columns and sheet.frame["contaminated"].any()
    return replace(sheet, notes=(CONTAMINATED, *sheet.notes)) if shown else sheet
