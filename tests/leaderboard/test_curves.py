from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.leaderboard import statistics
from hsray.leaderboard.curve_sheets import REFERENCES
from hsray.leaderboard.curves import curves
from hsray.leaderboard.sheet import Sheet
from tests.leaderboard.frames import finals, frame, run


def line(strategy: str, scores: dict[float | str, tuple[float, ...]], **given: Any) -> list[dict[str, Any]]:
    return [
        row for fraction, of in scores.items() for row in finals(*of, strategy=strategy, fraction=fraction, **given)
    ]


def by_title(sheets: list[Sheet]) -> dict[str, Sheet]:
    return {sheet.title: sheet for sheet in sheets}


def notes(sheets: list[Sheet]) -> str:
    return "\n".join(note for sheet in sheets for note in sheet.notes)


def test_points_area_and_labels_to_match() -> None:
    runs = frame(
        *line("runet", {0.25: (0.1, 0.2, 0.3), 0.5: (0.4, 0.4, 0.4), 1.0: (0.5, 0.6, 0.7)}),
        *line("vit", {1.0: (0.8, 0.8), 0.25: (0.4, 0.4), 0.5: (0.6, 0.6)}),
    )
    found = by_title(curves(runs))
    points = found["pines: mean Jaccard against fraction"].frame
    assert points.select("variant", "fraction", "seeds").rows()[:3] == [("runet", f"{n} %", 3) for n in (25, 50, 100)]
    assert points["score"].to_list() == pytest.approx([20, 40, 60, 40, 60, 80])
    interval = statistics.seed_interval([10, 20, 30], seed=0)
    assert interval is not None
    assert points.select("low", "high").row(0) == pytest.approx((interval.low, interval.high))
    assert points["low"].null_count() == 3
    area = found["pines: area under the curve"].frame
    assert area.select("variant", "seeds", "from_percent", "to_percent").rows() == [
        ("vit", 2, 25, 100),
        ("runet", 3, 25, 100),
    ]
    assert area["height"].to_list() == pytest.approx([60, 40])
    match = found["pines: labels needed to match"].frame
    assert match["labels for runet"].to_list() == pytest.approx([100, 50])
    assert match["labels for vit"].to_list() == [None, pytest.approx(100)]
    assert "3 of 6 rows" in notes(list(found.values()))


def test_curves_are_compared_over_what_they_share() -> None:
    runs = frame(
        *line("runet", {0.25: (0.0,), 0.5: (0.4,), 1.0: (0.6,)}), *line("vit", {0.5: (0.6,), 1.0: (0.8,)}),
        *line("fc", {1.0: (0.9,)}),
    )  # fmt: skip
    area = by_title(curves(runs))["pines: area under the curve"]
    assert area.frame.select("variant", "height", "from_percent", "ranked").rows() == [
        ("vit", pytest.approx(70), 50, True), ("runet", pytest.approx(50), 50, True),
    ]  # fmt: skip
    apart = frame(*line("runet", {0.1: (0.2,), 0.5: (0.4,)}), *line("vit", {0.2: (0.6,), 1.0: (0.8,)}))
    area = by_title(curves(apart))["pines: area under the curve"]
    assert area.frame["ranked"].to_list() == [False, False]
    assert "fewer than two fractions" in notes([area])


def test_official_subsets_are_a_curve_of_their_own_that_ends_at_all_images() -> None:
    runs = frame(*line("runet", {"official:25": (0.2,), "official:50": (0.4,), 0.5: (0.9,), 1.0: (0.6,)}))
    found = by_title(curves(runs))
    official = found["pines, official subsets: area under the curve"].frame
    assert official.select("height", "from_percent", "to_percent").row(0) == pytest.approx((40, 25, 100))
    assert found["pines: area under the curve"].frame["height"].to_list() == pytest.approx([75])


def test_contaminated_ones_are_marked_and_never_best() -> None:
    runs = frame(
        *line("runet", {0.5: (0.4,), 1.0: (0.6,)}), *line("vit", {0.5: (0.6,), 1.0: (0.8,)}, contaminated=True)
    )
    for sheet in curves(runs):
        assert "contaminated" in "\n".join(sheet.notes)
        assert dict(sheet.frame.select("variant", "mark").iter_rows()) == {"vit": "‡", "runet": ""}
        if sheet.ranked:
            assert dict(sheet.frame.select("variant", sheet.ranked).iter_rows()) == {"vit": False, "runet": True}


def test_what_there_is_not_is_said() -> None:
    assert "no final is complete" in notes(curves(frame()))
    left = notes(curves(frame(*finals(0.5), run("final", 1, state="running"), run("final", 2, 0.5, problem="odd"))))
    assert "left out, finals that are not complete: 1" in left
    assert "1 run not used: odd" in left
    assert "1 run not used: the fraction in the tag hsray.axes is no number" in notes(
        curves(frame(*finals(0.5), *finals(0.5, fraction="half")))
    )
    many = [row for n in range(12) for row in line(f"s{n:02}", {0.5: (0.01 * n,), 1.0: (0.02 * n,)})]
    match = by_title(curves(frame(*many)))["pines: labels needed to match"]
    assert [name for name in match.frame.columns if name.startswith("labels")] == [
        f"labels for s{n:02}" for n in range(12 - REFERENCES, 12)
    ]
    assert f"{REFERENCES} of 12" in notes([match])


@settings(max_examples=15, deadline=None)
@given(st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=2, max_size=4), st.randoms())
def test_the_area_lies_within_the_scores_and_order_does_not_matter(scores: list[list[float]], random: Any) -> None:
    runs = line("runet", {2.0 ** (place - 5): tuple(of) for place, of in enumerate(scores)})
    shuffled = random.sample(runs, len(runs))
    expected, found = curves(frame(*runs)), curves(frame(*shuffled))
    assert [sheet.notes for sheet in found] == [sheet.notes for sheet in expected]
    assert all(one.frame.equals(other.frame) for one, other in zip(found, expected, strict=True))
    area = by_title(found)["pines: area under the curve"].frame["height"][0]
    everything = [100 * score for of in scores for score in of]
    assert np.min(everything) - 1e-9 <= area <= np.max(everything) + 1e-9
