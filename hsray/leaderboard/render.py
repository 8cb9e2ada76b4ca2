"""The comparison in the formats people and programs read."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import StringIO
from typing import Any

import polars as pl
from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from hsray.errors import RequestError
from hsray.leaderboard.published import DISPUTED, against_published
from hsray.leaderboard.runs import load
from hsray.leaderboard.table import CONTAMINATED, Board, table
from hsray.scores import METRICS

HEADINGS = dict(zip(METRICS, ("accuracy", "mean acc.", "F1", "Jaccard"), strict=True))
FRONT_HEADINGS = ["labelled images", "Jaccard, validation %", "trial"]
PUBLISHED_HEADINGS = ["strategy", "published as"] + [
    column for heading in HEADINGS.values() for column in (f"{heading}, ours", "published", "diff.")
]
INTERNAL = ("official", "axes", "cell", "task")
WIDE = 130  # characters; below, a row does not fit and the costs go into a table of their own


def print_table(experiment: str, uri: str, format: str = "table", *, published: bool = False) -> None:
    """Print the comparison of an experiment in MLflow to standard output, with `published` beside published figures.

    Raises:
        RequestError: MLflow does not answer, has no such experiment, or the format is not known.
    """
    board = table(load(experiment, uri))
    if published:
        board = against_published(board)
    if format == "table":
        console = Console()
        if not console.is_terminal:  # nothing to fit into
            console = Console(width=160)
        console.print(renderable(board, wide=console.width >= WIDE), highlight=False)
    else:
        print(render(board, format))


def render(board: Board, format: str = "table") -> str:
    """The comparison as text: table, json, csv or markdown. Scores are in percent, times in seconds.

    Raises:
        RequestError: the format is not known.
    """
    if format not in FORMATS:
        raise RequestError(f"unknown format '{format}'", do=f"take one of: {', '.join(FORMATS)}")
    return FORMATS[format](board)


def renderable(board: Board, *, wide: bool = True) -> RenderableType:
    """For a rich console: a table for every dataset and fraction, the fronts, the notes.

    Where it is not `wide`, the costs stand in tables of their own.
    """
    parts: list[RenderableType] = []
    for title, rows in _groups(board):
        table_rows = _cells(board, rows, bold=lambda text: f"[bold]{text}[/]", plain=escape)
        headings, names = _headings(board), 2 + len(board.more_axes)
        if wide:
            parts += [_rich(title, headings, table_rows, names), ""]
            continue
        scores = [0, *range(2, names + len(METRICS))]
        costs = [0, 1, *range(names + len(METRICS), len(headings))]
        for chosen, left, over in ((scores, names - 1, title), (costs, 2, "cost")):
            picked = [[cells[place] for place in chosen] for cells in (headings, *table_rows)]
            parts += [_rich(over, picked[0], picked[1:], left), ""]
    for title, rows in _front_groups(board):
        shown = [[str(row["labelled_images"]), f"{row['jaccard_macro']:.2f}", escape(row["trial"])] for row in rows]
        parts += [_rich(title, FRONT_HEADINGS, shown, left=0), ""]
    for title, rows in _published_groups(board):
        parts += [_rich(title, PUBLISHED_HEADINGS, _published_cells(rows, escape), left=2), ""]
    if not parts:
        parts = [Text("nothing to compare yet"), ""]
    return Group(*parts, *(Text(f"· {note}", style="dim") for note in board.notes))


def _rich(title: str, headings: list[str], rows: list[list[str]], left: int) -> Table:
    shown = Table(title=escape(title), title_justify="left", title_style="bold", box=None, pad_edge=False)
    for number, heading in enumerate(headings):
        shown.add_column(heading, justify="left" if number < left else "right", no_wrap=True)
    for cells in rows:
        shown.add_row(*cells)
    return shown


def _as_table(board: Board) -> str:
    console = Console(file=StringIO(), width=160, force_terminal=False)
    console.print(renderable(board))
    return "\n".join(line.rstrip() for line in console.file.getvalue().splitlines())  # type: ignore[attr-defined]


def _as_markdown(board: Board) -> str:
    lines = []
    headings = _headings(board)
    for title, rows in _groups(board):
        rule = ["---"] * (2 + len(board.more_axes)) + ["---:"] * (len(headings) - 2 - len(board.more_axes))
        lines += [f"**{title}**", "", _bar(headings), _bar(rule)]
        lines += [_bar(row) for row in _cells(board, rows, bold=lambda text: f"**{text}**", plain=_plain)] + [""]
    for title, rows in _front_groups(board):
        lines += [f"**{title}**", "", _bar(FRONT_HEADINGS), "|---:|---:|---|"]
        lines += [_bar([row["labelled_images"], f"{row['jaccard_macro']:.2f}", row["trial"]]) for row in rows] + [""]
    for title, rows in _published_groups(board):
        rule = ["---", "---"] + ["---:"] * (len(PUBLISHED_HEADINGS) - 2)
        lines += [f"**{title}**", "", _bar(PUBLISHED_HEADINGS), _bar(rule)]
        lines += [_bar(cells) for cells in _published_cells(rows, _plain)] + [""]
    return "\n".join((lines or ["nothing to compare yet", ""]) + [f"- {note}" for note in board.notes])


def _as_json(board: Board) -> str:
    content = {
        "experiment": board.experiment,
        "scores": "percent",
        "rows": [{**_public(row), "axes": json.loads(row["axes"])} for row in board.rows.iter_rows(named=True)],
        "fronts": list(board.fronts.iter_rows(named=True)),
        "notes": board.notes,
    }
    return json.dumps(content, indent=1)


def _as_csv(board: Board) -> str:
    """The rows; where all cells search the fraction, their fronts. Notes do not fit into a CSV."""
    rows = board.rows if len(board.rows) or not len(board.fronts) else board.fronts
    if len(board.rows):
        axes = [json.loads(text) for text in rows["axes"]]
        rows = rows.with_columns(pl.Series(name, [str(one.get(name, "")) for one in axes]) for name in board.more_axes)
    return rows.drop([name for name in INTERNAL if name in rows.columns]).write_csv().rstrip("\n")


FORMATS: dict[str, Callable[[Board], str]] = {
    "table": _as_table,
    "json": _as_json,
    "csv": _as_csv,
    "markdown": _as_markdown,
}


def _groups(board: Board) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in board.rows.iter_rows(named=True):
        found.setdefault(f"{row['dataset']}, {row['fraction']} of the training images", []).append(row)
    return list(found.items())


def _front_groups(board: Board) -> list[tuple[str, list[dict[str, Any]]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for row in board.fronts.iter_rows(named=True):
        found.setdefault(f"{row['dataset']}, {_strategy(row)} ({row['family']}): Pareto front", []).append(row)
    return list(found.items())


def _published_groups(board: Board) -> list[tuple[str, list[dict[str, Any]]]]:
    """The rows that have a published one, by dataset."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in board.rows.iter_rows(named=True):
        if row.get("published_model"):
            found.setdefault(f"{row['dataset']}, ours against published (percent)", []).append(row)
    return list(found.items())


def _published_cells(rows: list[dict[str, Any]], plain: Callable[[str], str]) -> list[list[str]]:
    table_rows = []
    for row in rows:
        cells = [plain(_strategy(row)), f"{row['published_model']}, {row['published_input']}"]
        for metric in METRICS:
            if row[f"published_{metric}"] is None:
                cells += [f"{row[metric]:.2f}", "–", "–"]
                continue
            mark = f" {DISPUTED}" if metric in row["published_disputed"].split(",") else ""
            cells += [f"{row[metric]:.2f}", f"{row[f'published_{metric}']:.2f}{mark}"]
            cells += [f"{row[f'difference_{metric}']:+.2f}"]
        table_rows.append(cells)
    return table_rows


def _headings(board: Board) -> list[str]:
    scores = [f"{heading} %" for heading in HEADINGS.values()]
    costs = ["seeds", "trials c/p/f", "test reads", "device time", "features"]
    return ["strategy", "family", *board.more_axes, *scores, *costs]


def _cells(
    board: Board, rows: list[dict[str, Any]], bold: Callable[[str], str], plain: Callable[[str], str]
) -> list[list[str]]:
    ranked = [row for row in rows if not row["contaminated"]]
    best = {metric: max((row[metric] for row in ranked), default=None) for metric in METRICS}
    table_rows = []
    for row in rows:
        cells = [plain(_strategy(row)), row["family"], *(plain(_axis(row["axes"], axis)) for axis in board.more_axes)]
        for metric in METRICS:
            score = _score(row, metric)
            cells.append(bold(score) if row[metric] == best[metric] and row in ranked and len(rows) > 1 else score)
        trials = "/".join(str(row[f"trials_{state}"]) for state in ("complete", "pruned", "failed"))
        times = [_duration(row["device_seconds"]), _duration(row["features_seconds"])]
        table_rows.append([*cells, str(row["seeds"]), trials, str(row["test_reads"]), *times])
    return table_rows


def _strategy(row: dict[str, Any]) -> str:
    return row["strategy"] + (f" {CONTAMINATED}" if row["contaminated"] else "")


def _score(row: dict[str, Any], metric: str) -> str:
    low, high = row[f"{metric}_low"], row[f"{metric}_high"]
    half = "" if low is None else f" ± {(high - low) / 2:.2f}"
    return f"{row[metric]:.2f}{half}"


def _axis(axes: str, name: str) -> str:
    return str(json.loads(axes).get(name, "–"))


def _duration(seconds: float) -> str:
    if not seconds:
        return "–"
    if seconds < 60:
        return f"{seconds:.0f} s" if seconds >= 1 else "<1 s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{seconds / 3600:.1f} h"


def _public(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name not in ("official", "task")}


def _plain(text: str) -> str:
    return text.replace("|", "\\|")


def _bar(cells: list[Any]) -> str:
    return f"| {' | '.join(map(str, cells))} |"
