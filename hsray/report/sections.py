"""The sections about strategies: scores, labels, comparisons, cost. Each is HTML, and one that is empty says why."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from hsray.leaderboard import charts
from hsray.leaderboard.board_sheets import View, board_sheets
from hsray.report.content import Content
from hsray.report.drawing import figure
from hsray.report.pieces import empty, folded, places, row
from hsray.report.tables import sheet_html

MOST_PAIRS = 24  # differences in one chart


def scores(content: Content) -> str:
    """The leaderboard's tables and, of every dataset and fraction, dots with intervals."""
    if not len(content.cells) and not len(content.board.fronts):
        return empty("no cell has a complete final yet; what is missing stands below")
    parts = [sheet_html(sheet) for sheet in board_sheets(content.board, View(brief=True))]
    whole = "".join(sheet_html(replace(sheet, notes=())) for sheet in board_sheets(content.board))
    drawn = []
    for (dataset, fraction), group in places(content.cells):
        if len(group) > 1:
            rows = group.with_columns(pl.col("variant").alias("strategy"))
            chart = charts.scores_chart(rows, strategies=content.strategies)
            best = group.sort("jaccard_macro", descending=True).row(0, named=True)
            alt = (
                f"Mean Jaccard of {len(group)} strategies on {dataset} with {fraction} of the training images; highest "
                f"{best['variant']} with {best['jaccard_macro']:.2f} %. The figures stand in the table."
            )
            drawn.append(figure(chart, alt, f"{dataset}, {fraction}: means and 95 % intervals"))
    more = "with standard deviations, interquartile means, trials (complete/pruned/failed), test reads and times"
    return "\n".join([row(drawn), *parts, folded(more, whole)])


def curves(content: Content) -> str:
    """Score against fraction with bands, the area under the curve, labels needed to match."""
    drawn = []
    for (dataset,), group in content.cells.group_by("dataset", maintain_order=True):
        if group["fraction_percent"].n_unique() > 1:
            rows = group.with_columns(pl.col("variant").alias("strategy"))
            chart = charts.curve_chart(rows, strategies=content.strategies)
            alt = (
                f"Mean Jaccard on {dataset} against the fraction of training images: a curve a strategy, with intervals"
            )
            drawn.append(figure(chart, alt, f"{dataset}: bands are 95 % intervals over seeds"))
    if not drawn:
        return empty("there is one fraction a dataset: nothing to draw a curve through")
    points = [sheet for sheet in content.curves if " against fraction" in sheet.title]
    shown = [sheet_html(sheet) for sheet in content.curves if sheet not in points]
    return "\n".join([row(drawn), *shown, folded("the points of the curves", "".join(map(sheet_html, points)))])


def pairwise(content: Content) -> str:
    """Paired differences, drawn and as tables; ranks over datasets where there are several."""
    if not len(content.pairs):
        return empty("no two strategies share a dataset and fraction with complete finals")
    drawn = []
    for (dataset, fraction), group in places(content.pairs.filter(pl.col("difference").is_not_null())):
        if len(group) <= MOST_PAIRS:
            chart = charts.difference_chart(
                group.select(
                    (pl.col("a") + " − " + pl.col("b")).alias("label"),
                    "difference",
                    pl.col("difference_low").alias("low"),
                    pl.col("difference_high").alias("high"),
                )
            )
            alt = f"Differences in mean Jaccard between strategies on {dataset} with {fraction} of the training images."
            drawn.append(figure(chart, alt, f"{dataset}, {fraction}: paired differences, 95 % intervals"))
    place = ("dataset", "fraction")  # stands in the title
    pairs = [replace(one, columns=tuple(c for c in one.columns if c.name not in place)) for one in content.comparisons]
    sheets = [*pairs, *content.overall]
    return "\n".join([row(drawn), *(sheet_html(sheet) for sheet in sheets)])


def cost(content: Content) -> str:
    """Score against device-hours, and the best validation score so far against what was spent."""
    by_title = {sheet.title: sheet.frame for sheet in content.costs}
    drawn = []
    for (dataset, fraction), group in places(_named(by_title.get("score and cost"), "hours")):
        chart = charts.pareto_chart(group.rename({"hours": "cost"}), strategies=content.strategies)
        alt = (
            f"Mean Jaccard against device-hours on {dataset} with {fraction} of the training images, and Pareto front."
        )
        drawn.append(figure(chart, alt, f"{dataset}, {fraction}: dashed, what no other beats in score and cost"))
    for (dataset, fraction), group in places(_named(by_title.get("best so far"), "device_hours", "best")):
        progress = charts.best_so_far_chart(group.rename({"device_hours": "cost"}), strategies=content.strategies)
        alt = f"Best validation score so far against device-hours on {dataset} with {fraction} of the training images."
        drawn.append(figure(progress, alt, f"{dataset}, {fraction}: best trial so far"))
    shown = [sheet_html(sheet) for sheet in content.costs if sheet.title != "best so far"]
    steps = [sheet_html(sheet) for sheet in content.costs if sheet.title == "best so far"]
    return "\n".join([row(drawn), *shown, folded("the trials that improved the best score", "".join(steps))])


def _named(frame: pl.DataFrame | None, *positive: str) -> pl.DataFrame:
    """With the variant as the strategy, and rows alone whose figures can be drawn on a log scale."""
    if frame is None or not len(frame):
        return pl.DataFrame(schema={"dataset": pl.String, "fraction": pl.String})
    return frame.with_columns(pl.col("variant").alias("strategy")).filter(pl.col(name) > 0 for name in positive)
