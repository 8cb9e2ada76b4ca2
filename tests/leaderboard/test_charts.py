"""Charts hold all that they are given, under the right names."""

from __future__ import annotations

import numpy as np
import polars as pl

from hsray.leaderboard.charts import confusion_chart, parallel_chart, pareto_chart, response_chart
from hsray.leaderboard.chartstyle import specification
from hsray.report.drawing import svg


def rows(chart: object) -> list[list[dict[str, object]]]:
    return list(specification(chart)["datasets"].values())


def test_no_chart_is_too_large() -> None:
    """altair refuses more than 5000 rows unless it is told otherwise."""
    matrix_KK = np.ones((80, 80), int)
    assert len(rows(confusion_chart(matrix_KK, [f"class {k}" for k in range(80)]))[0]) == 80 * 80
    score = np.linspace(10, 90, 6000)
    trials = pl.DataFrame({"strategy": ["runet"] * 6000, "score": score, "lr": score / 1e4, "width": score})
    assert len(rows(response_chart(trials, "lr"))[0]) == 6000
    assert 3 * 6000 in map(len, rows(parallel_chart(trials.drop("strategy"), ["lr", "width"])))


def test_what_is_not_confused_takes_no_row_and_what_is_not_predicted_has_a_column() -> None:
    chart = confusion_chart(np.array([[3, 1, 0], [2, 2, 0], [0, 4, 0]]), ["corn", "grass", "woods"])
    assert len(rows(chart)[0]) == 5
    drawn = svg(chart, "a matrix")
    assert drawn.count(">woods<") == 2  # its row, and a column that stays empty


def test_the_axis_names_the_score() -> None:
    points = pl.DataFrame({"strategy": ["runet"], "cost": [1.0], "score": [50.0], "front": [True]})

    def titles(**given: str) -> set[str]:
        layers = specification(pareto_chart(points, **given))["layer"]
        return {layer["encoding"]["y"]["title"] for layer in layers}

    assert titles() == {"mean Jaccard (%)"}
    assert titles(score_title="mean F1 (%)") == {"mean F1 (%)"}
