from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.errors import HsrayError, RequestError
from hsray.leaderboard import statistics
from hsray.leaderboard.compare import compare, compare_all
from hsray.leaderboard.confusions import Confusions
from hsray.leaderboard.sheet import Sheet
from tests.leaderboard.frames import finals, frame, run

IMAGES = tuple(f"image{number}" for number in range(14))
NAMES = ("undefined", "corn", "grass")


def matrices(skill: float, seed: int, images: tuple[str, ...] = IMAGES) -> Confusions:
    generator = np.random.default_rng(seed)
    confusion = generator.integers(0, 40, (len(images), 3, 3))
    confusion[:, range(3), range(3)] += int(400 * skill)
    confusion[:, 0] = 0
    return Confusions(confusion, images, NAMES, 0)


def confusions(**skills: float) -> Callable[[str], Confusions | None]:
    def of(run_id: str) -> Confusions | None:
        strategy = run_id.split("strategy=")[1].partition(",")[0]
        return matrices(skills[strategy], int(run_id.rsplit("-", 1)[1])) if strategy in skills else None

    return of


def rows(sheets: list[Sheet]) -> list[dict[str, Any]]:
    return [row for sheet in sheets for row in sheet.frame.iter_rows(named=True)]


def notes(sheets: list[Sheet]) -> str:
    return "\n".join(note for sheet in sheets for note in sheet.notes)


def test_a_row_is_what_the_statistics_say() -> None:
    a, b = (0.5, 0.61, 0.7), (0.4, 0.53, 0.75)
    sheets = compare(frame(*finals(*a), *finals(*b, strategy="fc")), "runet", "fc", confusions(runet=0.9, fc=0.5))
    [row] = rows(sheets)
    differences = 100 * (np.array(a) - np.array(b))
    interval = statistics.seed_interval(differences, seed=0)
    assert interval is not None
    assert (row["difference"], row["mean_a"], row["mean_b"]) == pytest.approx(
        (differences.mean(), 100 * np.mean(a), 100 * np.mean(b))
    )
    assert (row["difference_low"], row["difference_high"]) == pytest.approx((interval.low, interval.high))
    assert (row["seeds"], row["wins"], row["images"]) == (3, 2, 14)
    assert row["improvement"] == pytest.approx(100 * np.mean([[x > y for y in b] for x in a]))
    assert row["p_seeds"] is None
    assert row["p_images"] == row["p_images_holm"] < 0.01
    assert row["better"] is None  # on these images, but the seeds do not agree
    assert "fewer than eight shared seeds: 1 of 1" in notes(sheets)


def test_better_takes_images_and_seeds() -> None:
    runs = frame(*finals(0.7, 0.71, 0.72), *finals(0.4, 0.42, 0.41, strategy="fc"))
    assert [row["better"] for row in rows(compare(runs, "runet", "fc", confusions(runet=0.9, fc=0.4)))] == ["runet"]
    assert [row["better"] for row in rows(compare(runs, "fc", "runet", confusions(runet=0.9, fc=0.4)))] == ["runet"]
    assert [row["better"] for row in rows(compare(runs, "runet", "fc", confusions(runet=0.5, fc=0.5)))] == [None]
    [row] = rows(compare(runs, "runet", "fc"))
    assert row["p_images"] is None
    assert row["better"] is None


def test_blocks_of_a_scene_are_no_images() -> None:
    runs = frame(*finals(0.7, 0.71, 0.72), *finals(0.4, 0.42, 0.41, strategy="fc"))
    blocks = tuple(f"r{number // 4:02d}c{number % 4:02d}" for number in range(14))
    sheets = compare(runs, "runet", "fc", lambda run_id: matrices(0.9 if "runet" in run_id else 0.4, 0, blocks))
    [row] = rows(sheets)
    assert (row["p_images"], row["better"]) == (None, None)
    assert "blocks of one scene and depend on each other: " in notes(sheets)
    assert "(14 blocks)" in notes(sheets)


def test_seeds_alone_are_tested_from_eight_on_and_contaminated_ones_are_not_ranked() -> None:
    many = [0.7 + 0.001 * seed for seed in range(8)]
    runs = [*finals(*many), *finals(*(score - 0.2 for score in many), strategy="fc")]
    [row] = rows(compare(frame(*runs), "runet", "fc"))
    assert row["p_seeds"] == pytest.approx(2 / 2**8)
    assert row["better"] == "runet"
    runs[0]["contaminated"] = True
    sheets = compare(frame(*runs), "runet", "fc")
    [row] = rows(sheets)
    assert (row["mark_a"], row["mark_b"], row["better"]) == ("‡", "", None)
    assert "contaminated" in notes(sheets)


def test_holm_is_over_all_that_is_shown() -> None:
    runs = []
    for dataset, gap in (("pines", 0.002), ("pavia", 0.1), ("salinas", 0.001)):
        scores = np.random.default_rng(0).normal(0.6, 0.01, 9)
        runs += finals(*scores, dataset=dataset)
        runs += finals(*(scores - gap + np.random.default_rng(1).normal(0, 0.003, 9)), dataset=dataset, strategy="fc")
    found = rows(compare_all(frame(*runs)))
    assert [row["dataset"] for row in found] == ["pavia", "pines", "salinas"]
    expected = statistics.holm([row["p_seeds"] for row in found])
    assert [row["p_seeds_holm"] for row in found] == pytest.approx(list(expected))
    assert max(row["p_seeds_holm"] - row["p_seeds"] for row in found) > 0
    few = finals(0.5, 0.6, dataset="houston") + finals(0.4, 0.5, dataset="houston", strategy="fc")
    said = notes(compare_all(frame(*runs, *few)))
    assert "Holm's correction is over the 3 comparisons tested over seeds, of all datasets and fractions" in said


def test_cells_are_paired_over_the_axes_both_have() -> None:
    runs = frame(
        *finals(0.5, 0.6, fraction=0.1), *finals(0.6, 0.7),
        *finals(0.4, 0.5, strategy="vit", axes={"adapter": "lora"}),
        *finals(0.3, 0.4, strategy="vit", axes={"adapter": "full"}),
        *finals(0.2, strategy="vit", fraction="official:10", axes={"adapter": "full"}),
    )  # fmt: skip
    found = rows(compare(runs, "runet", "vit"))
    assert [(row["fraction"], row["b"]) for row in found] == [
        ("100 %", "vit (adapter=full)"),
        ("100 %", "vit (adapter=lora)"),
    ]
    [row] = rows(compare(runs, "vit@adapter=lora", "vit@adapter=full"))
    assert (row["a"], row["b"], row["difference"]) == ("vit (adapter=lora)", "vit (adapter=full)", pytest.approx(10))
    for asked in ("0.1", "10 %", "10%"):
        [row] = rows(compare(runs, f"runet@fraction={asked}", "runet@fraction=1"))
        assert (row["fraction"], row["a"], row["b"]) == ("10 % / 100 %", "runet, 10 %", "runet, 100 %")
    [row] = rows(compare(runs, "vit@adapter=lora", "runet"))  # named on one side alone, an axis only selects
    assert (row["fraction"], row["a"], row["b"]) == ("100 %", "vit (adapter=lora)", "runet")
    with pytest.raises(RequestError, match="share no"):
        compare(runs, "runet@fraction=0.1", "vit")
    [row] = rows(compare(runs, "runet@fraction=0.1", "vit@fraction=official:10"))
    assert row["seeds"] == 1
    assert {(row["a"], row["b"]) for row in rows(compare_all(runs))} == {
        ("runet", "vit (adapter=full)"), ("runet", "vit (adapter=lora)"),
    }  # fmt: skip


def test_what_cannot_be_compared_is_said() -> None:
    runs = frame(*finals(0.5, 0.6), *finals(0.4, strategy="fc", dataset="pavia"), run("trial", 0, 0.5, strategy="mlp"))
    wrong = {
        ("nope", "fc"): "'nope' has no complete finals",
        ("mlp", "fc"): "'mlp' has no complete finals",
        ("runet@size=1", "fc"): "names no axis",
        ("runet@fraction", "fc"): "names no axis",
        ("runet@dataset=salinas", "fc"): "no finals with dataset salinas",
        ("runet", "fc"): "share no dataset",
        ("runet", "runet"): "with itself",
    }
    for (a, b), reason in wrong.items():
        with pytest.raises(RequestError, match=reason) as raised:
            compare(runs, a, b)
        assert raised.value.do
    assert "no two strategies share" in notes(compare_all(runs))
    assert "no two strategies share" in notes(compare_all(frame()))


def test_what_is_left_out_is_counted() -> None:
    kept = [*finals(0.5, 0.6, 0.7), *finals(0.4, 0.5, 0.6, strategy="fc")]
    runs = frame(
        *kept, *finals(0.1, 0.1, strategy="fc", definition="older", started_ms=0),
        run("final", 3, 0.4, strategy="fc", state="failed"), run("final", 4, 0.9), run("final", 5, float("nan")),
        run("final", 2, 0.9, superseded=True, config="x"), run("final", 6, None, problem="no tag hsray.axes", axes={}),
    )  # fmt: skip

    def one_is_broken(run_id: str) -> Confusions | None:
        if run_id.endswith("final-0"):
            raise HsrayError("these confusion matrices cannot be read: cut off", where="x.npz")
        return matrices(0.5, 0, IMAGES[:-1] if "fc" in run_id and run_id.endswith("1") else IMAGES)

    sheets = compare(runs, "runet", "fc", one_is_broken)
    [row] = rows(sheets)
    assert (row["seeds"], row["images"]) == (3, 14)
    for expected in (
        "2 runs of other definitions", "left out, finals that are not complete: 1", "1 superseded run not used",
        "left out, finals without a finite score: 1", "seeds that only one side has are left out",
        "1 run not used: no tag hsray.axes",
        "cannot be read: cut off", "(1 of 3 seeds)", "test images or classes that differ",
    ):  # fmt: skip
        assert expected in notes(sheets), expected


@settings(max_examples=8, deadline=None)
@given(st.permutations(range(10)), st.integers(0, 5))
def test_order_does_not_matter_and_sides_mirror_each_other(order: list[int], seed: int) -> None:
    generator = np.random.default_rng(seed)
    runs = [*finals(*generator.random(5)), *finals(*generator.random(5), strategy="fc")]
    find = confusions(runet=0.6, fc=0.5)
    expected = compare(frame(*runs), "runet", "fc", find)
    shuffled = compare(frame(*(runs[place] for place in order)), "runet", "fc", find)
    assert shuffled[0].frame.equals(expected[0].frame)
    assert shuffled[0].notes == expected[0].notes
    [row], [mirrored] = rows(expected), rows(compare(frame(*runs), "fc", "runet", find))
    assert mirrored["difference"] == pytest.approx(-row["difference"])
    assert mirrored["difference_low"] == pytest.approx(-row["difference_high"])
    assert mirrored["improvement"] == pytest.approx(100 - row["improvement"])
    assert mirrored["p_images"] == row["p_images"]
