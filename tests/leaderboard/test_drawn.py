"""What pictures and charts draw as one line."""

from __future__ import annotations

from matplotlib.figure import Figure

from hsray.leaderboard.charts import scores_chart
from hsray.leaderboard.drawn import drawn_rows, numbered
from hsray.leaderboard.figure import _draw_scores, _numbers
from hsray.leaderboard.table import table
from tests.leaderboard.frames import finals, frame

CLEAN, SEEN = {"axes": {"encoder": "clean"}}, {"axes": {"encoder": "seen"}, "contaminated": True}
RUNS = frame(
    *finals(0.30, fraction=0.1, **CLEAN), *finals(0.53, **CLEAN), *finals(0.95, **SEEN),
    *finals(0.10, fraction="official:10", **CLEAN), *finals(0.20, fraction="official:30", **CLEAN),
    *finals(0.40, strategy="vit"),
)  # fmt: skip
NAMES = ["runet (encoder=clean)", "runet (encoder=seen) ‡", "vit"]


def test_the_picture_joins_neither_variants_nor_official_subsets_and_marks_contaminated_ones() -> None:
    rows = drawn_rows(table(RUNS).rows, RUNS)
    axes = Figure().subplots()
    _draw_scores(axes, rows, "pines", _numbers(rows))
    lines = [container.lines[0] for container in axes.containers]
    drawn = [([round(y, 6) for y in line.get_ydata()], line.get_linestyle()) for line in lines]
    assert drawn == [([30, 53], "-"), ([10, 20], "--"), ([95], "-"), ([40], "-")]
    assert lines[0].get_color() == lines[1].get_color() != lines[2].get_color()
    assert sorted(text.get_text() for text in axes.texts) == NAMES


def test_a_chart_gives_every_variant_a_place_and_a_contaminated_one_its_colour_elsewhere() -> None:
    runs = frame(*RUNS.iter_rows(named=True), *finals(0.5, dataset="pavia", axes={"encoder": "seen"}))
    rows = drawn_rows(table(runs).rows, runs)
    variants = rows["variant"].unique().sort().to_list()
    pines, pavia = (rows.filter(dataset=dataset, fraction="100 %") for dataset in ("pines", "pavia"))
    assert scores_chart(pines).to_dict()["layer"][1]["encoding"]["y"]["sort"] == [NAMES[1], NAMES[0], NAMES[2]]
    places = [numbered(of, variants).index(name) for of, name in ((pines, NAMES[1]), (pavia, "runet (encoder=seen)"))]
    assert places == [1, 1]
