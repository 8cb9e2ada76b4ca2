"""Several workers under Ray Train: one is killed, and the bracket stops some."""

from __future__ import annotations

import signal
from pathlib import Path

from tests.reliability.cluster.sweeping import SETTINGS, Sweep, title, until
from tests.reliability.raylets import Raylets
from tests.sweep.sweeps import ledger_states


def test_a_worker_is_killed_and_the_bracket_stops_runs(tmp_path: Path) -> None:
    budget = {"trials": 3, "epochs": 8, "patience": None, "grace": 4, "factor": 2}
    with Raylets(1, env=SETTINGS) as cluster:
        other = cluster.add(1, env=SETTINGS)
        search = {"lr": {"choice": [1e-2, 1e-7]}}
        sweep = Sweep(tmp_path, cluster, budget=budget, resources={"workers": 2}, search=search, final={"seeds": 0})
        sweep.start()
        workers = until(lambda: sweep.goes_on() and other.workers("RayTrainWorker"), what="a worker on the other node")
        until(lambda: sweep.goes_on() and any(count >= 2 for count in sweep.epochs().values()), what="two epochs")
        held = max(sweep.epochs().values())
        for worker in workers:
            if "RayTrainWorker" in title(worker):
                worker.send_signal(signal.SIGKILL)
        assert sweep.wait() == 0, sweep.said
        sweep.check(3, finals=0)
        assert held >= 2
        assert "PRUNED" in ledger_states(tmp_path), "the bracket stopped nothing: the test shows nothing of it"
        until(lambda: cluster.available().get("CPU") == 2, what="all cores free again")
        assert [name for name in cluster.actors() if "Train" in name] == []
