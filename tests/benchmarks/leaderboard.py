"""Speed and memory of the leaderboard over a simulated MLflow store of 100,000 runs, beside `mlflow.search_runs`.

`python -m tests.benchmarks.leaderboard` (`make leaderboard-bench`); `--only http` and the like measure parts of it.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from statistics import median

from tests.benchmarks.leaderboard_children import Ended, call, run
from tests.benchmarks.report import Measurement, show

RUNS, QUICK, ADDED = 100_000, 2_000, 100
REPEATS = {"mirror": 3, "incremental": 3, "leaderboard": 5}
FIRST_GOAL = 0.1  # of the time of search_runs: ten times faster
DIRECT_GOAL_S, HTTP_GOAL_S, BOARD_GOAL_S, PAGE_GOAL_S, MEMORY_GOAL_GB = 2.0, 10.0, 1.0, 1.0, 2.0


@dataclass
class Bench:
    """One store in a folder, and the mirror of it that the parts share."""

    folder: Path
    rows: list[Measurement] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "mlflow.db"

    @property
    def uri(self) -> str:
        return f"sqlite:///{self.store}"

    @property
    def mirror(self) -> Path:
        return self.folder / "mirror"

    def make(self, runs: int) -> None:
        self._store("--runs", str(runs))

    def add(self) -> None:
        self._store("--add", str(ADDED))

    def _store(self, *options: str) -> None:
        run(sys.executable, "-m", "tests.benchmarks.mlflowstore", str(self.store), *options)

    def row(self, name: str, ended: list[Ended], seconds: list[float], goal: float | None, note: str) -> float:
        """Add the median of the seconds and the largest peak."""
        spread = f"{len(seconds)}×, {min(seconds):.2f} … {max(seconds):.2f} s" if len(seconds) > 1 else "once"
        computing = f"the process computed {median(one.processor for one in ended):.2f} s"
        self.rows.append(Measurement(name, median(seconds), "s", goal, f"{spread}; {computing}; {note}"))
        peak = max(one.peak for one in ended) / 1e9
        limit = None if name.startswith("mlflow.") else MEMORY_GOAL_GB
        self.rows.append(Measurement("… peak memory", peak, "GB", limit, "resident, the process's own"))
        return median(seconds)


def first(bench: Bench) -> None:
    """The first mirror by direct read and MLflow's own table, each in new processes on the same store."""
    mirrors = [bench.mirror, *(bench.folder / f"mirror-{number}" for number in range(1, REPEATS["mirror"]))]
    ended = [call("sync", bench.uri, folder) for folder in mirrors]
    ours = bench.row("first mirror, direct read", ended, [one.called for one in ended], None, ended[0].told)
    searched = call("search_runs", bench.uri)
    theirs = bench.row("mlflow.search_runs", [searched], [searched.called], None, searched.told)
    note = f"{theirs / ours:.1f} times as fast"
    bench.rows.append(Measurement("first mirror against search_runs", ours / theirs, "×", FIRST_GOAL, note))


def incremental(bench: Bench) -> None:
    """Syncs by direct read, each after new runs."""
    ended = []
    for _ in range(REPEATS["incremental"]):
        bench.add()
        ended.append(call("sync", bench.uri, bench.mirror))
    note = f"{ADDED} new runs each"
    bench.row("incremental sync, direct read", ended, [one.called for one in ended], DIRECT_GOAL_S, note)


def leaderboard(bench: Bench) -> None:
    """The command, from its start to its end, and its heaviest other forms for information."""
    from tests.benchmarks.mlflowstore import EXPERIMENT

    for name, options, goal in (
        ("hsray leaderboard", (EXPERIMENT,), BOARD_GOAL_S),
        ("… --format json", (EXPERIMENT, "--format", "json"), None),
        ("… --curve", (EXPERIMENT, "--curve"), None),
        ("… --query", ("--query", "SELECT strategy, avg(jaccard_macro) FROM runs GROUP BY strategy"), None),
    ):
        command = (sys.executable, "-m", "hsray.cli", "leaderboard", "--no-sync")
        where = ("--mirror", str(bench.mirror), "--tracking-uri", bench.uri)
        ended = [run(*command, *where, *options) for _ in range(REPEATS["leaderboard"])]
        bench.row(name, ended, [one.seconds for one in ended], goal, "cold process, with statistics")


def http(bench: Bench) -> None:
    """The first mirror and incremental ones through a server of MLflow's on the same store."""
    from tests.tracking.stores import Server

    server, mirror = Server(bench.folder, bench.uri), bench.folder / "mirror-http"
    try:
        server.start()
        ended = [call("sync", server.uri, mirror)]
        bench.row("first mirror, HTTP", ended, [ended[0].called], None, ended[0].told)
        ended = []
        for _ in range(REPEATS["incremental"]):
            bench.add()
            ended.append(call("sync", server.uri, mirror))
        note = f"{ADDED} new runs each"
        bench.row("incremental sync, HTTP", ended, [one.called for one in ended], HTTP_GOAL_S, note)
    finally:
        server.kill()


def dashboard(bench: Bench) -> None:
    """Its pages in Chromium, while the server syncs beside them."""
    from tests.benchmarks.leaderboard_pages import pages

    bench.rows += pages(bench.mirror, bench.uri, PAGE_GOAL_S, MEMORY_GOAL_GB)


PARTS: dict[str, Callable[[Bench], None]] = {
    "first": first, "incremental": incremental, "leaderboard": leaderboard, "dashboard": dashboard, "http": http,
}  # fmt: skip


def main() -> int:
    """All parts, or those named; 1 where a goal is missed."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.leaderboard")
    parser.add_argument("--quick", action="store_true", help=f"{QUICK} runs: to see that it works")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS), help="these parts")
    arguments = parser.parse_args()
    runs, load = QUICK if arguments.quick else RUNS, os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="hsray-bench-") as folder:
        bench = Bench(Path(folder))
        print(f"making a store of {runs:,} runs", file=sys.stderr, flush=True)
        bench.make(runs)
        for name in dict.fromkeys(["first", *arguments.only]):
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            PARTS[name](bench)
    settings = f"polars {version('polars')}; {runs:,} simulated runs with 20 metrics, 20 parameters, 12 tags or more; "
    show(bench.rows, settings + f"load {load:.1f} before, {os.getloadavg()[0]:.1f} after")
    return 0 if arguments.quick or all(row.met for row in bench.rows) else 1


if __name__ == "__main__":
    sys.exit(main())
