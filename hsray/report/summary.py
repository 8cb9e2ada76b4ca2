"""The report's first words: sentences made from the figures, none of which says more than the figures do.

*Better* is said of two strategies only where the 95 % interval of their paired difference over seeds leaves zero out
and a test agrees after Holm's correction. Without a test the interval is told with its weakness: the highest of many
equal means often lies above some other by chance. Contaminated strategies are set aside: they are named, and nothing is
said of their rank.
"""

from __future__ import annotations

from typing import Any

import polars as pl

from hsray.report.wording import duration_words, is_or_are, listed, p_words, score_words, signed

LEVEL = 0.05
FIGURES = 2  # of more comparisons than this only the first one's figures are told


def best_sentences(cells: pl.DataFrame, pairs: pl.DataFrame) -> list[str]:
    """Of every dataset and fraction which strategy scored highest, and what may be concluded from that.

    `cells`: a row a cell with finals: dataset, fraction, variant, contaminated, seeds, jaccard_macro and its ends
    jaccard_macro_low, jaccard_macro_high (percent, null where there is no interval). `pairs`: rows of `compare_all`.
    """
    found = []
    for (dataset, fraction), group in cells.group_by("dataset", "fraction", maintain_order=True):
        ranked = group.filter(~pl.col("contaminated")).sort("jaccard_macro", descending=True)
        where = f"{dataset}, {fraction} of the training images"
        aside = group.filter("contaminated")["variant"].to_list()
        told = f" {listed(aside)} {is_or_are(aside)} contaminated and set aside." if aside else ""
        if not len(ranked):
            found.append(f"{where}: nothing to rank.{told}")
        elif len(ranked) == 1:
            best = ranked.row(0, named=True)
            found.append(
                f"{where}: {best['variant']} reached {score_words(best)}; there is nothing to compare it with.{told}"
            )
        else:
            of_place = pairs.filter(pl.col("dataset") == dataset, pl.col("fraction") == fraction)
            found.append(f"{where}: {_ranking(ranked, of_place)}{told}")
    return found


def verdict(best: dict[str, Any], other: dict[str, Any], pairs: pl.DataFrame) -> tuple[str, str]:
    """What may be said of the higher of two cells against the other, and the figures it rests on.

    better; lower: on shared seeds the other is higher; uncorrected: the interval alone says better; unclear; runs:
    these runs differ on these test images, and other seeds need not; open: nothing says so.
    """
    row, sign = _pair(best["variant"], other["variant"], pairs)
    if row is None or row["difference"] is None:
        return "open", "no seed in common"
    difference = sign * row["difference"]
    low: float | None = None
    high: float | None = None
    figures = [f"{signed(difference)} points"]
    if row["difference_low"] is None or row["difference_high"] is None:
        figures.append("no interval with fewer than three shared seeds")
    else:
        low, high = sorted((sign * row["difference_low"], sign * row["difference_high"]))
        figures.append(f"95 % interval {signed(low)} to {signed(high)}")
    p, over = (row["p_images_holm"], "images") if row["p_images_holm"] is not None else (row["p_seeds_holm"], "seeds")
    if p is not None:
        figures.append(f"test over {over} {p_words(p)} after Holm")
    passed = p is not None and p < LEVEL and difference > 0
    if low is not None and low > 0 and (passed or p is None):
        kind = "better" if passed else "uncorrected"
    elif high is not None and high < 0:
        kind = "lower"
    elif passed and over == "images":
        kind = "runs"
    else:
        kind = "open" if low is None else "unclear"
    return kind, "; ".join(figures)


def _ranking(ranked: pl.DataFrame, pairs: pl.DataFrame) -> str:
    best, *others = ranked.iter_rows(named=True)
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for other in others:
        kind, figures = verdict(best, other, pairs)
        by_kind.setdefault(kind, []).append((other["variant"], figures))
    said = {
        "better": "It is better than {}.",
        "lower": "On the seeds that both have, {} scored higher.",
        "uncorrected": "Its interval against {} leaves zero out, uncorrected for the number of comparisons; no test "
        "was possible.",
        "unclear": "These data do not tell it apart from {}.",
        "runs": "Against {} the test over images sees a difference between these very runs; whether other seeds would "
        "show it is open.",
        "open": "Whether it is better than {} is open.",
    }
    parts = [f"{best['variant']} has the highest mean, {score_words(best)}."]
    for kind, sentence in said.items():
        if named := by_kind.get(kind):
            # Of many, the nearest one's figures; all of them stand in the tables.
            shown = named if len(named) <= FIGURES else named[:1]
            told = [f"{name} ({figures})" for name, figures in shown]
            parts.append(sentence.format(listed([*told, *(name for name, _ in named[len(shown) :])])))
    return " ".join(parts)


def seeds_sentence(cells: pl.DataFrame) -> str | None:
    """On how many seeds it all rests, and what follows from that."""
    if not len(cells):
        return None
    seeds = cells["seeds"].to_list()
    fewest, most = min(seeds), max(seeds)
    count = f"{fewest}" if fewest == most else f"{fewest} to {most}"
    if most < 3:
        return (
            f"Every figure rests on {count} seed{'' if most == 1 else 's'} a cell: too few for an interval over seeds."
        )
    careful = " Intervals from so few seeds are wide, and a difference that they hide may still be there."
    return f"Figures are means over {count} seeds a cell.{careful if fewest < 10 else ''}"


def label_sentences(cells: pl.DataFrame) -> list[str]:
    """Where fewer labels were enough: a smaller fraction whose interval lies wholly above another's at all images."""
    found = []
    plain = cells.filter(~pl.col("official"), ~pl.col("contaminated"), pl.col("jaccard_macro_low").is_not_null())
    for (dataset,), group in plain.group_by("dataset", maintain_order=True):
        most = group["fraction_percent"].max()
        for full in group.filter(pl.col("fraction_percent") == most).iter_rows(named=True):
            fewer = group.filter(
                pl.col("fraction_percent") < most,
                pl.col("variant") != full["variant"],
                pl.col("jaccard_macro_low") > full["jaccard_macro_high"],
            ).sort("fraction_percent")
            if len(fewer):
                less = fewer.row(0, named=True)
                found.append(
                    f"{dataset}: {less['variant']} with {less['fraction']} of the images, {score_words(less)}, "
                    f"lies above {full['variant']} with {full['fraction']}, {score_words(full)}; "
                    "the intervals do not overlap."
                )
    return found


def cost_sentence(runs: pl.DataFrame) -> str:
    """What all runs took, repeated and failed ones too. `runs` as `load` gives them."""
    known = runs.filter(pl.col("device_seconds").is_finite())
    seconds = {kind: float(known.filter(pl.col("kind") == kind)["device_seconds"].sum()) for kind in ("trial", "final")}
    trials, finals = (len(runs.filter(pl.col("kind") == kind)) for kind in seconds)
    text = (
        f"{trials} trial{'' if trials == 1 else 's'} and {finals} final{'' if finals == 1 else 's'} took "
        f"{duration_words(sum(seconds.values()))} of device time (trials {duration_words(seconds['trial'])}, "
        f"finals {duration_words(seconds['final'])})."
    )
    # Features serve all fractions and seeds of a dataset and strategy.
    shared = runs.group_by("dataset", "strategy").agg(pl.col("features_seconds").fill_nan(None).max())
    if features := float(shared["features_seconds"].sum()):
        text += f" Computing the features of frozen encoders took {duration_words(features)} more, once."
    without = len(runs.filter(pl.col("state") != "running")) - len(known.filter(pl.col("state") != "running"))
    return text + (f" {without} {'run tells' if without == 1 else 'runs tell'} no device time." if without else "")


def _pair(best: str, other: str, pairs: pl.DataFrame) -> tuple[dict[str, Any] | None, int]:
    for row in pairs.iter_rows(named=True):
        if (row["a"], row["b"]) == (best, other):
            return row, 1
        if (row["b"], row["a"]) == (best, other):
            return row, -1
    return None, 1
