from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from hsray.leaderboard import Board, recompute, table
from hsray.leaderboard.board_sheets import View, arranged
from hsray.leaderboard.runs import load
from hsray.leaderboard.statistics import mean_sd, seed_interval
from hsray.scores import METRICS, scores
from tests.leaderboard import frames
from tests.leaderboard.conftest import Deliver
from tests.tracking.folders import START, FakeRun
from tests.tracking.stores import runs_of


def finals(sweep_dir: Path, skill: float, seeds: int = 3, **cell) -> list[FakeRun]:
    generator = np.random.default_rng(int(100 * skill))
    runs = [FakeRun(sweep_dir, "final", seed, **cell) for seed in range(seeds)]
    return [run.start().epochs(0, 1).end_final(generator, skill) for run in runs]


def board(uri: str) -> Board:
    return table(load("demo", uri))


def test_a_row_says_what_the_confusion_matrices_say(delivered: Deliver, sweep_dir: Path) -> None:
    runs = finals(sweep_dir, 0.7)
    FakeRun(sweep_dir, number=0).start().end()
    FakeRun(sweep_dir, number=1).start().end("PRUNED")
    FakeRun(sweep_dir, number=2).start().end("FAILED", "the loss is not finite")
    uri = delivered(*runs)
    [row] = board(uri).rows.iter_rows(named=True)
    pooled = [np.load(run.folder / "confusion.npz")["confusion_NKK"].sum(0) for run in runs]
    for metric in METRICS:
        values = [100 * scores(confusion, 0)[metric] for confusion in pooled]
        found = seed_interval(values, seed=0)
        assert found is not None and row["interval"] == found.method
        assert (row[f"{metric}_low"], row[f"{metric}_high"]) == pytest.approx((found.low, found.high), abs=1e-9)
        assert (row[metric], row[f"{metric}_sd"]) == pytest.approx(mean_sd(values), abs=1e-9)
        assert row[f"{metric}_iqm"] == pytest.approx(np.mean(values), abs=1e-9)  # nothing is cut of three
    assert (row["trials_complete"], row["trials_pruned"], row["trials_failed"]) == (1, 1, 1)
    assert (row["seeds"], row["test_reads"]) == (3, 3)
    assert (row["device_seconds"], row["features_seconds"]) == (6 * 6.0, 1.0)
    assert (row["dataset"], row["fraction"], row["family"]) == ("indian-pines", "25 %", "in-domain")


def test_recomputed_scores_replace_the_logged_ones(delivered: Deliver, sweep_dir: Path) -> None:
    [run] = finals(sweep_dir, 0.7, seeds=1)
    uri = delivered(run)
    logged = load("demo", uri).with_columns(pl.lit(0.123).alias("jaccard_macro"))
    assert recompute("demo", uri)["jaccard_macro"].to_list() == pytest.approx(
        load("demo", uri)["jaccard_macro"].to_list(), abs=1e-9
    )
    from mlflow import MlflowClient

    client = MlflowClient(uri)
    client.log_metric(runs_of(uri)[0].info.run_id, "test/jaccard_macro", 0.123, step=99)
    assert load("demo", uri)["jaccard_macro"].to_list() == logged["jaccard_macro"].to_list()
    truth = scores(np.load(run.folder / "confusion.npz")["confusion_NKK"].sum(0), 0)["jaccard_macro"]
    assert recompute("demo", uri)["jaccard_macro"].to_list() == pytest.approx([truth], abs=1e-9)


def test_order(delivered: Deliver, sweep_dir: Path) -> None:
    for fraction in (1.0, 0.05, "official:10"):
        for strategy, skill in (("runet", 0.3), ("hypersl", 0.9), ("efficientnet", 0.6)):
            finals(sweep_dir, skill, 1, strategy=strategy, fraction=fraction)
    found = board(delivered()).rows
    assert found["fraction"].unique(maintain_order=True).to_list() == ["5 %", "100 %", "official 10 %"]
    assert found["strategy"].to_list() == ["hypersl", "efficientnet", "runet"] * 3


def test_superseded_finals_and_older_definitions_do_not_count_but_their_reads_do(
    delivered: Deliver, sweep_dir: Path
) -> None:
    finals(sweep_dir, 0.2, 2, definition="00000000")
    FakeRun(sweep_dir, number=0, definition="00000000").start().end()
    finals(sweep_dir, 0.3, 2, config="0ld0ld00")
    current = finals(sweep_dir, 0.9)
    uri = delivered(*current)
    [row] = board(uri).rows.iter_rows(named=True)
    truth = [np.load(run.folder / "confusion.npz")["confusion_NKK"].sum(0) for run in current]
    assert row["jaccard_macro"] == pytest.approx(100 * np.mean([scores(one, 0)["jaccard_macro"] for one in truth]))
    assert (row["seeds"], row["test_reads"], row["trials_complete"]) == (3, 7, 0)
    assert "3 runs of other definitions of these cells not used" in board(uri).notes


def test_few_seeds_have_no_interval_and_the_table_says_why(delivered: Deliver, sweep_dir: Path) -> None:
    finals(sweep_dir, 0.5, 2)
    finals(sweep_dir, 0.5, 3, strategy="hypersl")
    found = board(delivered())
    halves = dict(found.rows.select("strategy", "jaccard_macro_low").iter_rows())
    assert halves["runet"] is None
    assert halves["hypersl"] is not None
    assert "no interval with fewer than 3 seeds: dataset=indian-pines,strategy=runet,fraction=0.25" in found.notes


def test_cells_without_a_row_are_named_with_the_reason(delivered: Deliver, sweep_dir: Path) -> None:
    FakeRun(sweep_dir, number=0).start().end("FAILED", "the loss is not finite")
    FakeRun(sweep_dir, number=0, strategy="hypersl").start().end()
    FakeRun(sweep_dir, number=1, strategy="hypersl").start().epochs(0, 1)
    FakeRun(sweep_dir, "final", 0, strategy="efficientnet").start().end("FAILED", "no memory")
    found = board(delivered())
    assert not len(found.rows)
    of = "dataset=indian-pines,strategy={},fraction=0.25: "
    assert found.notes == [
        of.format("efficientnet") + "no final is complete (1 failed): no memory (1×)",
        of.format("hypersl") + "no finals yet (trials: 1 complete, 1 killed)",
        of.format("runet") + "every trial failed: the loss is not finite (1×)",
        "1 run not used: killed, and not taken up again so far",
    ]


def test_failed_finals_beside_complete_ones_are_named(delivered: Deliver, sweep_dir: Path) -> None:
    finals(sweep_dir, 0.5, 3)
    FakeRun(sweep_dir, "final", 3).start().end("FAILED", "no memory")
    notes = board(delivered()).notes
    assert "dataset=indian-pines,strategy=runet,fraction=0.25: 1 failed among the finals: no memory (1×)" in notes


def test_another_axis_has_its_own_rows(delivered: Deliver, sweep_dir: Path) -> None:
    finals(sweep_dir, 0.5, 1, more_axes={"adapter": "lora"})
    finals(sweep_dir, 0.9, 1, more_axes={"adapter": "full"})
    finals(sweep_dir, 0.7, 1, strategy="hypersl")
    found = board(delivered())
    assert found.more_axes == ["adapter"]
    assert found.rows["strategy"].to_list() == ["runet", "hypersl", "runet"]


def test_the_front_holds_what_nothing_beats_in_both(delivered: Deliver, sweep_dir: Path) -> None:
    for number, (jaccard, images) in enumerate([(0.5, 10), (0.4, 20), (0.6, 20), (0.6, 30), (0.7, 40), (0.3, 5)]):
        run = FakeRun(sweep_dir, number=number, fraction=None).start()
        run.end(**{"val/jaccard_macro": jaccard, "labelled_images": images})
    FakeRun(sweep_dir, number=9, fraction=None).start().end("FAILED", **{"val/jaccard_macro": 0.9})
    found = board(delivered())
    points = list(found.fronts.select("labelled_images", "jaccard_macro").iter_rows())
    assert points == [(5, 30.0), (10, 50.0), (20, 60.0), (40, 70.0)]
    assert not len(found.rows)


def test_runs_that_cannot_be_used_are_counted(delivered: Deliver, sweep_dir: Path) -> None:
    finals(sweep_dir, 0.5, 3)
    FakeRun(sweep_dir, "final", 3).start().end()  # no test metrics
    FakeRun(sweep_dir, number=0).start(**{"hsray.axes": "no json"}).end()
    uri = delivered()
    from mlflow import MlflowClient

    experiment = runs_of(uri)[0].info.experiment_id
    MlflowClient(uri).create_run(experiment, int(START * 1000))
    found = board(uri)
    assert found.rows["seeds"].to_list() == [3]
    names = ", ".join(f"test/{metric}" for metric in METRICS)
    assert f"1 run not used: no finite metric {names}" in found.notes
    assert "1 run not used: the tag hsray.axes is not JSON" in found.notes
    assert any(note.startswith("1 run not used: no tag hsray.cell") for note in found.notes)


def test_an_axis_of_numbers_is_sorted_by_size_and_names_come_last() -> None:
    sizes = ["128", "all", "16", "64"]
    runs = [run for size in sizes for run in frames.finals(0.5, axes={"window": size})]
    found = table(frames.frame(*runs))
    orders = {sort: arranged(found, View(sort=sort)).rows["window"].to_list() for sort in ("window", "-window")}
    assert orders["window"] == ["16", "64", "128", "all"] and orders["-window"] == ["128", "64", "16", "all"]
