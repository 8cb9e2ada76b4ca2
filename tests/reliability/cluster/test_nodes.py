"""Nodes are lost and join in the middle of a sweep: nothing counts against a trial, and the room is used."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from hsray.training import checkpoint
from tests.reliability.cluster.sweeping import SETTINGS, Sweep, busy, until
from tests.reliability.raylets import Raylets, namespaces_work


def test_a_node_is_lost_and_another_joins(tmp_path: Path) -> None:
    with Raylets(1, env=SETTINGS) as cluster:
        lost = cluster.add(1, env=SETTINGS)
        sweep = Sweep(tmp_path, cluster, budget={"trials": 6, "epochs": 10, "patience": None, "halving": False})
        sweep.start()
        until(
            lambda: sweep.goes_on() and busy(lost) and sum(count > 2 for count in sweep.epochs().values()) >= 2,
            what="work on both nodes",
        )
        lost.kill()
        joined = cluster.add(1, env=SETTINGS, wait=False)
        until(lambda: sweep.goes_on() and busy(joined), what="work on the node that joined")
        assert sweep.command is not None and sweep.command.poll() is None, "the sweep was over before"
        assert sweep.wait() == 0, sweep.said
        sweep.check(6)
        until(lambda: cluster.available().get("CPU") == 2, what="all cores free again")


def test_a_run_that_no_node_can_hold_says_what_it_waits_for(tmp_path: Path) -> None:
    with Raylets(1, env=SETTINGS) as cluster:
        only = cluster.add(2, env=SETTINGS)
        sweep = Sweep(tmp_path, cluster, budget={"trials": 2, "epochs": 8, "halving": False}, resources={"cpus": 2})
        sweep.start()
        until(lambda: sweep.goes_on() and busy(only) and any(sweep.epochs().values()), what="work on the node")
        only.kill()
        until(lambda: "a run waits for a node: it needs 1 worker × (2 CPU, 0 GPU)" in sweep.said, what="the word")
        cluster.add(2, env=SETTINGS)
        assert sweep.wait() == 0, sweep.said
        assert "a node has come" in sweep.said
        sweep.check(2)


def test_where_nodes_are_started_for_what_waits_one_run_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What an autoscaler looks at is a placement group that no node can hold yet."""
    monkeypatch.setenv("HSRAY_AUTOSCALING", "1")
    with Raylets(1, env=SETTINGS) as cluster:
        sweep = Sweep(tmp_path, cluster, budget={"trials": 6, "epochs": 12, "patience": None, "halving": False})
        sweep.start()
        until(lambda: sweep.goes_on() and any(sweep.epochs().values()), what="work on the only node")
        until(lambda: sweep.goes_on() and cluster.waiting() == [{"CPU": 1.0}], what="one run that waits")
        joined = cluster.add(1, env=SETTINGS, wait=False)
        until(lambda: sweep.goes_on() and busy(joined), what="work on the node that came for it")
        until(lambda: sweep.goes_on() and cluster.waiting() == [{"CPU": 1.0}], what="one more run that waits")
        assert sweep.wait() == 0, sweep.said
        sweep.check(6)


def test_a_trial_is_lost_more_often_than_three_times(tmp_path: Path) -> None:
    with Raylets(1, env=SETTINGS) as cluster:
        sweep = Sweep(tmp_path, cluster, budget={"trials": 1, "epochs": 40, "patience": None}, search={})
        sweep.start()
        reached = 0
        for _ in range(5):
            until(
                lambda reached=reached: sum(sweep.epochs().values()) > reached + 2, what="an epoch after the last loss"
            )
            until(lambda: list(sweep.runs.rglob(checkpoint.NAME)), what="a checkpoint")
            reached = sum(sweep.epochs().values())
            for process in busy(cluster.head):
                process.send_signal(signal.SIGKILL)
            until(lambda: not busy(cluster.head), what="its end")
        assert sweep.ended() == 0, "it was over before it was killed five times"
        assert sweep.wait() == 0, sweep.said
        sweep.check(1)


@pytest.mark.skipif(not namespaces_work(), reason="needs root, iproute2 and network namespaces")
def test_a_node_is_cut_off(tmp_path: Path) -> None:
    with Raylets(1, env=SETTINGS) as cluster:
        apart = cluster.add(1, env=SETTINGS)
        sweep = Sweep(tmp_path, cluster)
        sweep.start()
        until(
            lambda: sweep.goes_on() and busy(apart) and any(count > 2 for count in sweep.epochs().values()),
            what="work on the node",
        )
        apart.cut()
        assert sweep.wait() == 0, sweep.said
        sweep.check(4)


def test_the_driver_dies_and_leaves_nothing_running(tmp_path: Path) -> None:
    with Raylets(1, env=SETTINGS) as cluster:
        other = cluster.add(1, env=SETTINGS)
        sweep = Sweep(tmp_path, cluster)
        command = sweep.start()
        until(
            lambda: sweep.goes_on() and busy(other) and any(count > 1 for count in sweep.epochs().values()), what="work"
        )
        os.kill(command.pid, signal.SIGKILL)
        command.wait()
        until(lambda: not busy(other) and not busy(cluster.head), what="the end of its actors")
        until(lambda: cluster.available().get("CPU") == 2, what="all cores free again")
        sweep.start()
        assert sweep.wait() == 0, sweep.said
        sweep.check(4)


def test_the_head_dies_and_comes_back(tmp_path: Path) -> None:
    with Raylets(1, env=SETTINGS) as cluster:
        sweep = Sweep(tmp_path, cluster)
        sweep.start()
        until(lambda: sweep.goes_on() and any(count > 2 for count in sweep.epochs().values()), what="work")
        cluster.head.kill()
        assert sweep.wait() == 1, sweep.said
        assert "the Ray cluster is gone" in sweep.said and "same command again" in sweep.said
        assert "Traceback" not in sweep.said
        cluster.start_head(1, env=SETTINGS)
        sweep.start()
        assert sweep.wait() == 0, sweep.said
        sweep.check(4)
