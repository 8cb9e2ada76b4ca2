"""All that a report shows, read once from the mirror."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import polars as pl

from hsray.errors import RequestError
from hsray.leaderboard.chosen import CELL, choose
from hsray.leaderboard.compare import compare_all
from hsray.leaderboard.cost import costs
from hsray.leaderboard.curves import curves
from hsray.leaderboard.mirror.address import source_name
from hsray.leaderboard.overall import overall
from hsray.leaderboard.sheet import Sheet
from hsray.leaderboard.table import Board, table
from hsray.report.classes import ClassScores, class_scores
from hsray.report.examples import Example, examples
from hsray.report.files import Files
from hsray.tracking.client import redacted

if TYPE_CHECKING:
    from hsray.leaderboard.mirror import Mirror

EXPERIMENT, MANIFEST = "experiment.yaml", "manifest.json"


@dataclass(frozen=True)
class Content:
    """`runs` as a mirror gives them; `cells`: the board's rows with `variant` (the strategy and its other axes), scores
    in percent; `pairs`: the rows of all pairwise comparisons. `strategies`: every variant, in the order in which they
    are numbered in all charts.
    """

    experiment: str
    source: str
    made: str
    runs: pl.DataFrame
    board: Board
    cells: pl.DataFrame
    strategies: list[str]
    pairs: pl.DataFrame
    comparisons: list[Sheet]
    curves: list[Sheet]
    overall: list[Sheet]
    costs: list[Sheet]
    classes: list[ClassScores]
    examples: list[Example]
    experiment_file: str | None
    manifests: list[dict[str, Any]]
    notes: list[str]


def collect(experiment: str, mirror: Mirror, uri: str, *, experiment_file: str | None = None) -> Content:
    """Read an experiment of the MLflow at `uri` from its mirror. What a run's files do not give is said in `notes`.

    Raises:
        RequestError: the mirror has no run of this experiment.
    """
    runs = _runs_of(experiment, mirror, uri)
    files = Files(mirror)
    board, chosen = table(runs), choose(runs)
    variants = chosen.runs.select(*CELL, "variant").unique()
    cells = board.rows.join(variants, on=CELL, how="left", maintain_order="left")
    finals, _ = chosen.finals(["jaccard_macro"])
    comparisons = compare_all(runs, files.confusions)
    return Content(
        experiment=experiment,
        source=redacted(uri),
        made=datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        runs=runs,
        board=board,
        cells=cells,
        strategies=sorted(variants["variant"].unique().to_list()),
        pairs=pl.concat([sheet.frame for sheet in comparisons]),
        comparisons=comparisons,
        curves=curves(runs),
        overall=overall(runs) if cells["dataset"].n_unique() > 1 else [],
        costs=costs(runs),
        classes=class_scores(cells, finals, files.confusions),
        examples=examples(cells, finals, files),
        experiment_file=experiment_file or _experiment_file(finals, files),
        manifests=_manifests(finals, files),
        notes=files.notes(),
    )


def _runs_of(experiment: str, mirror: Mirror, uri: str) -> pl.DataFrame:
    runs = mirror.runs().collect()
    found = runs.filter(pl.col("experiment") == experiment, pl.col("source") == source_name(uri))
    if len(found):
        return found
    there = runs.select("experiment", "source").unique().sort("experiment", "source").rows()
    raise RequestError(
        f"the mirror has no runs of '{experiment}'",
        where=source_name(uri),
        do=f"it has {'; '.join(f'{name} of {source}' for name, source in there)}" if there else "run a sweep first",
    )


def _experiment_file(finals: pl.DataFrame, files: Files) -> str | None:
    for run_id in finals.sort("started_ms", descending=True)["run_id"].head(1):
        return files.text(run_id, EXPERIMENT)
    return None


def _manifests(finals: pl.DataFrame, files: Files) -> list[dict[str, Any]]:
    """What the first and the last finals were made with: one where both say the same."""
    ordered = finals.sort("started_ms", "run_id")["run_id"]
    found: dict[str, dict[str, Any]] = {}
    for run_id in dict.fromkeys([*ordered.head(1), *ordered.tail(1)]):
        content = files.json(run_id, MANIFEST)
        if content is not None:
            found.setdefault(json.dumps(content, sort_keys=True), content)
    return list(found.values())
