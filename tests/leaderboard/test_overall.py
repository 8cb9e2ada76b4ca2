from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.leaderboard import statistics
from hsray.leaderboard.overall import overall
from tests.leaderboard.frames import finals, frame


def test_average_worst_case_and_rank() -> None:
    """Two models of HS3-Bench by their published Jaccard: the average and worst case are those of its table."""
    published = {
        "runet": {"hcv2": 43.33, "hyko2": 58.64, "hsidrive": 72.18},
        "unet": {"hcv2": 37.73, "hyko2": 57.39, "hsidrive": 64.95},
    }
    rows = [
        row
        for strategy, by_dataset in published.items()
        for dataset, score in by_dataset.items()
        for row in finals(score / 100 - 0.01, score / 100 + 0.01, strategy=strategy, dataset=dataset)
    ]
    rows += finals(0.99, strategy="half", dataset="hcv2")
    [sheet] = overall(frame(*rows))
    found = sheet.frame.select(
        "variant", "jaccard_macro_average", "jaccard_macro_worst", "average_rank", "fewest_seeds"
    ).rows()
    assert found == [
        ("runet", pytest.approx((43.33 + 58.64 + 72.18) / 3), pytest.approx(43.33), 1, 2),
        ("unet", pytest.approx((37.73 + 57.39 + 64.95) / 3), pytest.approx(37.73), 2, 2),
    ]
    notes = "\n".join(sheet.notes)
    assert "half (has 1)" in notes
    assert "it takes six datasets, these are 3" in notes
    assert "hcv2, hsidrive, hyko2" in notes


def test_contaminated_on_one_dataset_is_shown_and_not_ranked() -> None:
    rows = [
        row
        for place, strategy in enumerate(("a", "b", "c"))
        for dataset in ("x", "y")
        for row in finals(
            0.1 * place, strategy=strategy, dataset=dataset, contaminated=(strategy, dataset) == ("c", "y")
        )
    ]
    [sheet] = overall(frame(*rows))
    assert sheet.frame.select("variant", "average_rank", "ranked", "mark").rows() == [
        ("c", None, False, "‡"), ("b", 1, True, ""), ("a", 2, True, ""),
    ]  # fmt: skip
    assert any("contaminated" in note for note in sheet.notes)


def test_fractions_are_apart_and_one_dataset_is_not_averaged() -> None:
    rows = [row for fraction in (0.1, 1.0, "official:10") for row in finals(0.5, fraction=fraction)]
    rows += [row for fraction in (0.1, 1.0) for row in finals(0.6, fraction=fraction, dataset="pavia")]
    sheets = overall(frame(*rows))
    assert [sheet.title for sheet in sheets] == [
        f"over 2 datasets: segmentation, {fraction} of the training images" for fraction in ("10 %", "100 %")
    ]
    assert any("official 10 % (pines)" in note for note in sheets[-1].notes)
    [nothing] = overall(frame(*finals(0.5)))
    assert "nothing to average" in nothing.notes[0]
    assert overall(frame())[0].notes == ("no final is complete",)


@settings(max_examples=10, deadline=None)
@given(st.integers(6, 8), st.integers(2, 4), st.integers(0, 9))
def test_ranks_are_those_of_the_statistics(datasets: int, strategies: int, seed: int) -> None:
    scores_DT = np.random.default_rng(seed).integers(0, 4, (datasets, strategies)) / 10
    rows = [
        row
        for d in range(datasets)
        for t in range(strategies)
        for row in finals(scores_DT[d, t], dataset=f"d{d}", strategy=f"s{t}")
    ]
    [sheet] = overall(frame(*np.random.default_rng(seed).permutation(np.array(rows, dtype=object)).tolist()))
    found = dict(sheet.frame.select("variant", "average_rank").iter_rows())
    assert [found[f"s{t}"] for t in range(strategies)] == pytest.approx(list(statistics.average_ranks(scores_DT)))
    distance = statistics.critical_difference(strategies, datasets)
    assert any(f"nearer than {distance:.2f}" in note for note in sheet.notes)
