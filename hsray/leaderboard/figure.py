"""One picture of an experiment: scores by fraction, and what the strategies predict beside the label map."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from hsray.errors import RequestError
from hsray.leaderboard.drawn import drawn_rows
from hsray.leaderboard.panels import INK, draw_predictions, grid
from hsray.leaderboard.predictions import PREDICTIONS, Maps, read_maps
from hsray.leaderboard.runs import load
from hsray.leaderboard.table import table
from hsray.tracking.client import answering, open_client

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Okabe and Ito's palette, told apart by the colour-blind; black comes last.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^Dvp*"
FAINT = "#8a8a8a"


def figure(experiment: str, uri: str, path: Path, runs: pl.DataFrame | None = None) -> None:
    """Draw mean Jaccard by fraction with its intervals, and the predictions of one final of every strategy, as PNG.

    Strategies that differ in further axes have lines of their own, official subsets too (dashed); ‡ is contaminated.
    Of several datasets the first is drawn. Predictions are those of the lowest seed at the largest fraction. `runs`:
    those that are looked at, all of the experiment unless given.

    Raises:
        RequestError: MLflow does not answer, has no such experiment, or there is no final to draw.
        HsrayError: a final's file of predictions is damaged.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure

    runs = load(experiment, uri) if runs is None else runs
    board = table(runs)
    if not len(board.rows):
        raise RequestError(
            f"no final of '{experiment}' is complete, so there is nothing to draw",
            where=f"MLflow experiment {experiment}",
            do="wait for the finals; hsray leaderboard says what is missing",
        )
    dataset = board.rows["dataset"][0]
    rows = drawn_rows(board.rows.filter(pl.col("dataset") == dataset), runs)
    shown = _predictions(runs, rows, uri)
    numbers = _numbers(rows)
    style: Any = {"font.size": 9, "axes.edgecolor": FAINT, "text.color": INK, "axes.labelcolor": INK}
    with mpl.rc_context(style):
        if shown:
            columns, lines, height = grid(shown)
            drawing = Figure(figsize=(5.0 + 2.1 * columns, height), dpi=160, layout="constrained")
            left, right = drawing.subfigures(1, 2, width_ratios=[5.0, 2.1 * columns], wspace=0.02).tolist()  # type: ignore[union-attr]
            _draw_scores(left.subplots(), rows, dataset, numbers)
            right.suptitle(
                f"predictions of one final each, {_last_fraction(rows)} of the training images",
                x=0.01, ha="left", fontsize=10.5, fontweight="bold",
            )  # fmt: skip
            draw_predictions(right, shown, {name: _colour(number) for name, number in numbers.items()}, columns, lines)
        else:
            drawing = Figure(figsize=(5.6, 4.4), dpi=160, layout="constrained")
            _draw_scores(drawing.subplots(), rows, dataset, numbers)
        drawing.savefig(path)


def _numbers(rows: pl.DataFrame) -> dict[str, int]:
    """The same number, hence colour and mark, for a strategy everywhere."""
    return {strategy: number for number, strategy in enumerate(sorted(rows["strategy"].unique()))}


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def _draw_scores(axes: Axes, rows: pl.DataFrame, dataset: str, numbers: dict[str, int]) -> None:
    places = _places(rows)
    ends: list[tuple[float, float, str, str]] = []
    for strategy, number in numbers.items():
        shift = (number - (len(numbers) - 1) / 2) * 0.035
        of_strategy = rows.filter(pl.col("strategy") == strategy).sort("official", "fraction_percent", "cell")
        for part in of_strategy.partition_by("official", maintain_order=True):
            x = [places[label] + shift for label in part["fraction"]]
            _draw_line(axes, x, part, number)
        ends.append((x[-1], part["jaccard_macro"][-1], strategy, _colour(number)))
    axes.margins(x=0.08, y=0.12)
    if len(places) == 1:
        axes.set_xlim(-0.5, 0.5)  # else a few hundredths would fill the axis
    _label_ends(axes, ends)
    axes.set_xticks(list(places.values()), list(places))
    axes.set_xlabel("training images used")
    axes.set_ylabel("mean Jaccard on the test set (%)")
    axes.set_title(f"{dataset}: what a label buys", loc="left", fontsize=10.5, fontweight="bold")
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.tick_params(colors=INK, length=3)


def _draw_line(axes: Axes, x: list[float], part: pl.DataFrame, number: int) -> None:
    ends = [pl.col(f"jaccard_macro_{end}").fill_null(pl.col("jaccard_macro")) for end in ("low", "high")]
    low, high = (end.to_numpy() for end in part.select(ends))
    y = part["jaccard_macro"].to_numpy()
    turn = number // len(COLOURS)  # shapes go on by one a round, so that no two strategies look the same
    axes.errorbar(
        x, y, yerr=[y - low, high - y], color=_colour(number), marker=MARKERS[(number + turn) % len(MARKERS)],
        markersize=6, linestyle="--" if part["official"][0] else "-", linewidth=1.8, elinewidth=1.1, capsize=3,
        markeredgecolor="white", markeredgewidth=0.8,
    )  # fmt: skip


def _places(rows: pl.DataFrame) -> dict[str, float]:
    """Where each fraction stands: its logarithm, since labels are bought in multiples, but no two too near."""
    ordered = rows.select("fraction", "official", "fraction_percent").unique().sort("official", "fraction_percent")
    places: dict[str, float] = {}
    last, previous = 0.0, None
    for label, official, value in ordered.iter_rows():
        doublings = np.log2(value / previous) if previous and not official else 1.0
        last += float(np.clip(doublings, 0.6, 2.0)) if places else 0.0
        places[label], previous = last, value
    return places


def _label_ends(axes: Axes, ends: list[tuple[float, float, str, str]]) -> None:
    """Write each line's name at its right end, moved apart where they would touch."""
    low, high = axes.get_ylim()
    gap = (high - low) * 0.055
    right = max(x for x, *_ in ends)
    height = -np.inf
    for _, y, strategy, colour in sorted(ends, key=lambda end: end[1]):
        height = max(y, height + gap)
        axes.annotate(
            strategy, (right, height), xytext=(9, 0), textcoords="offset points", color=colour,
            va="center", fontweight="bold", annotation_clip=False,
        )  # fmt: skip


def _last_fraction(rows: pl.DataFrame) -> str:
    return rows.sort("official", "fraction_percent", descending=[True, False])["fraction"][-1]


def _predictions(runs: pl.DataFrame, rows: pl.DataFrame, uri: str) -> dict[str, Maps]:
    """Of every strategy the final of the lowest seed at the last fraction that left a picture, best strategy first."""
    last = _last_fraction(rows)
    client = open_client(uri)
    shown = {}
    cells = rows.filter(pl.col("fraction") == last).unique("strategy", keep="first", maintain_order=True)
    for strategy, cell in cells.select("strategy", "cell").iter_rows():
        finals = runs.filter(pl.col("cell") == cell, pl.col("kind") == "final", pl.col("state") == "complete")
        for run_id in finals.filter(~pl.col("superseded")).sort("seed")["run_id"]:
            with tempfile.TemporaryDirectory(prefix="hsray-") as folder, answering(uri):
                if PREDICTIONS in {file.path for file in client.list_artifacts(run_id)}:
                    shown[strategy] = read_maps(Path(client.download_artifacts(run_id, PREDICTIONS, folder)))
                    break
    return shown
