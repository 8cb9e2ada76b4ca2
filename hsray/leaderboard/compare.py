"""Strategies against each other: paired differences on shared seeds and images, and tests corrected for how many."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from typing import Any

import polars as pl

from hsray.errors import RequestError
from hsray.leaderboard import statistics
from hsray.leaderboard.chosen import CONTAMINATED, METRIC_NAMES, Runs, choose
from hsray.leaderboard.paircells import PairCell, agree, pair_cells, select_cells
from hsray.leaderboard.pairs import FindConfusions, pair_row
from hsray.leaderboard.sheet import Column, Sheet

LEVEL = 0.05
FEWEST_IMAGES = 6  # 2 of the 2⁵ flips of five images are one in sixteen
NAMED_PLACES = 4
_NUMBERS = (
    "mean_a", "mean_b", "difference", "difference_low", "difference_high", "improvement", "improvement_low",
    "improvement_high", "p_images", "p_images_holm", "p_seeds", "p_seeds_holm",
)  # fmt: skip
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(("dataset", "fraction", "metric", "a", "b", "mark_a", "mark_b"), pl.String),
    "contaminated": pl.Boolean,
    "seeds": pl.Int64,
    "wins": pl.Int64,
    "images": pl.Int64,
    **dict.fromkeys(_NUMBERS, pl.Float64),
    "method": pl.String,
    "better": pl.String,
}


def compare(
    runs: Runs, a: str, b: str, confusions: FindConfusions | None = None, metrics: Sequence[str] = ("jaccard_macro",)
) -> list[Sheet]:
    """Strategy a against b wherever both have finals. `name`, or `name@axis=value,…` for those cells alone.

    Cells are paired that agree in every axis both have, but for those named in both a and b (`vit@fraction=0.1` against
    `runet@fraction=1`). Scores are in percent. Without `confusions` there is no test over images.

    Raises:
        RequestError: there is no such strategy, axis or value, or the two share no cell.
    """
    chosen = choose(runs)
    cells, notes = pair_cells(chosen, metrics)
    (side_a, free_a), (side_b, free_b) = (select_cells(cells, text) for text in (a, b))
    if a == b:
        raise RequestError(f"'{a}' is compared with itself", where="--compare", do="name two strategies")
    pairs = [
        (one, other) for one in side_a for other in side_b if one is not other and agree(one, other, free_a & free_b)
    ]
    if not pairs:
        places = [sorted({f"{one.dataset} at {one.fraction}" for one in side}) for side in (side_a, side_b)]
        raise RequestError(
            f"{a} and {b} share no dataset and fraction with complete finals",
            where="--compare",
            do=f"{a} has {', '.join(places[0])}; {b} has {', '.join(places[1])}",
        )
    rows, more = _rows(pairs, metrics, confusions)
    columns = _columns(rows, several=len(metrics) > 1)
    return [Sheet(f"{a} against {b}", rows, columns, (*_explained(rows), *more, *notes, *chosen.notes))]


def compare_all(
    runs: Runs, confusions: FindConfusions | None = None, metrics: Sequence[str] = ("jaccard_macro",)
) -> list[Sheet]:
    """Every pair of strategies within dataset and fraction, a sheet for each; Holm's correction over all of them."""
    chosen = choose(runs)
    cells, notes = pair_cells(chosen, metrics)
    pairs = [
        pair
        for _, group in itertools.groupby(cells, key=lambda cell: (cell.dataset, cell.fraction))
        for pair in itertools.combinations(group, 2)
        if pair[0].axes["strategy"] != pair[1].axes["strategy"] and agree(*pair, free=set())
    ]
    rows, more = _rows(pairs, metrics, confusions)
    notes = [*more, *notes, *chosen.notes]
    columns = _columns(rows, several=len(metrics) > 1)
    if not len(rows):
        return [Sheet("pairwise", rows, columns, ("no two strategies share a dataset and fraction", *notes))]
    tested = {"images": rows["p_images"].count(), "seeds": rows["p_seeds"].count()}
    over = " and ".join(f"the {count} comparisons tested over {what}" for what, count in tested.items() if count > 1)
    if over:
        notes = [f"Holm's correction is over {over}, of all datasets and fractions", *notes]
    sheets = [
        Sheet(f"{dataset}, {fraction} of the training images: pairwise", of_place, columns)
        for (dataset, fraction), of_place in rows.group_by("dataset", "fraction", maintain_order=True)
    ]
    last = sheets[-1]
    return [*sheets[:-1], Sheet(last.title, last.frame, columns, (*_explained(rows), *notes))]


def _rows(
    pairs: Iterable[tuple[PairCell, PairCell]], metrics: Sequence[str], confusions: FindConfusions | None
) -> tuple[pl.DataFrame, list[str]]:
    rows: list[dict[str, Any]] = []
    problems: dict[str, list[str]] = {}
    for a, b in pairs:
        for metric in metrics:
            row, found = pair_row(a, b, metric, confusions)
            rows.append(row)
            for what, how_much in found:
                place = f"{row['dataset']} {row['fraction']} {row['a']}, {row['b']}"
                problems.setdefault(what, []).append(f"{place} ({how_much})")
    for kind in ("p_images", "p_seeds"):
        tested = [row for row in rows if row.get(kind) is not None]
        for row, adjusted in zip(tested, statistics.holm([row[kind] for row in tested]) if tested else [], strict=True):
            row[f"{kind}_holm"] = float(adjusted)
    for row in rows:
        # The test over images knows nothing of other seeds, the interval nothing of other images: both must agree.
        p = row.get("p_images_holm", row.get("p_seeds_holm"))
        if p is not None and p < LEVEL and row["method"] and not row["contaminated"]:
            row["better"] = row["a"] if row["difference_low"] > 0 else row["b"] if row["difference_high"] < 0 else None
    if confusions is None:
        problems["no test over images, for no confusion matrices were given"] = []
    names = pl.col("metric").replace_strict(METRIC_NAMES, default=pl.col("metric"))
    frame = pl.DataFrame(rows, schema=SCHEMA).with_columns(names.alias("score"))
    return frame, [f"{what}{_places(where)}" for what, where in problems.items()]


def _places(where: list[str]) -> str:
    places = list(dict.fromkeys(where))
    if not places:
        return ""
    more = f" and {len(places) - NAMED_PLACES} more" if len(places) > NAMED_PLACES else ""
    return ": " + "; ".join(places[:NAMED_PLACES]) + more


def _columns(rows: pl.DataFrame, *, several: bool) -> tuple[Column, ...]:
    tests = [
        column
        for kind, heading in (("p_images", "p, images"), ("p_seeds", "p, seeds"))
        if rows[kind].count()
        for column in (Column(kind, heading, 4), Column(f"{kind}_holm", "Holm", 4))
    ]
    return (
        Column("dataset", "dataset", align="left"),
        Column("fraction", "fraction", align="left"),
        Column("a", "A", align="left"),
        Column("b", "B", align="left"),
        *([Column("score", "score", align="left")] if several else []),
        Column("mean_a", "A", 2, unit="%", mark="mark_a"),
        Column("mean_b", "B", 2, unit="%", mark="mark_b"),
        Column("difference", "A − B", 2, unit="points", ends=("difference_low", "difference_high"), signed=True),
        Column("seeds", "seeds"),
        Column("wins", "wins of A"),
        Column("improvement", "P(A > B)", 0, unit="%", ends=("improvement_low", "improvement_high")),
        *tests,
        *([Column("better", f"better at {100 * LEVEL:g} %", align="left")] if tests else []),
    )


def _explained(rows: pl.DataFrame) -> list[str]:
    said = [CONTAMINATED] if rows["contaminated"].any() else []
    said.append(
        "on the seeds both have; a tie is no win; P(A > B): probability of improvement, that a run of A scores higher "
        "than one of B"
    )
    if rows["p_images"].count():
        said.append(
            "p, images: permutation test that swaps A and B image by image, within every seed alike; it speaks about "
            "these trained models on other images, not about other seeds: read it beside the difference"
        )
    if few := rows.filter(pl.col("p_images").is_not_null(), pl.col("images") < FEWEST_IMAGES).height:
        said.append(
            f"fewer than {FEWEST_IMAGES} test images allow no p below {LEVEL}: {few} of {len(rows)} comparisons"
        )
    if rows["p_seeds"].count():
        said.append("p, seeds: permutation test that swaps A and B seed by seed")
    if few := rows["p_seeds"].null_count():
        said.append(f"no test over seeds alone with fewer than eight shared seeds: {few} of {len(rows)} comparisons")
    if rows["p_images"].count() or rows["p_seeds"].count():
        said.append(
            "Holm: p corrected for all comparisons so tested; better: so corrected (over images where tested, else "
            "over seeds) p is below 0.05, and the interval of the difference leaves out zero"
        )
    if methods := rows["method"].drop_nulls().unique().sort().to_list():
        said.append(f"± of the difference, 95 %: {'; '.join(methods)}")
    if few := rows["method"].null_count():
        said.append(f"no interval with fewer than 3 shared seeds: {few} of {len(rows)} comparisons")
    return said
