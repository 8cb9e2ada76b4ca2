"""An MLflow store of many runs in seconds: MLflow's own tables, filled by bulk insertion.

`python -m tests.benchmarks.mlflowstore PATH --runs 100000`; with `--add 100` runs are added to a store made before.
"""

from __future__ import annotations

import argparse
import sqlite3
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from hsray.tracking.client import open_client
from tests.benchmarks.leaderboard_runs import CELLS, InventedRun, invented

EXPERIMENT = "study"
RUNS = 100_000
AT_ONCE = 2000  # runs in memory
TABLES = {
    "runs": "run_uuid, name, source_type, source_name, entry_point_name, user_id, status, start_time, end_time, "
    "source_version, lifecycle_stage, artifact_uri, experiment_id",
    "metrics": "key, value, timestamp, run_uuid, step, is_nan",
    "latest_metrics": "key, value, timestamp, step, is_nan, run_uuid",
    "params": "key, value, run_uuid",
    "tags": "key, value, run_uuid",
}


def make_store(path: Path, runs: int = RUNS) -> str:
    """A new store with one experiment, `study`, of 200 cells, or fewer with at least 50 runs each; its address."""
    path.unlink(missing_ok=True)
    uri = f"sqlite:///{path.resolve()}"
    client = open_client(uri, to_write=True)
    client.create_experiment(EXPERIMENT, (path.resolve().parent / "mlruns" / EXPERIMENT).as_uri())
    _add(path, runs, cells=min(len(CELLS), max(1, runs // 50)))
    return uri


def add_runs(path: Path, count: int) -> None:
    """`count` runs more of the cells that are there, which started after all that are there, in one transaction."""
    with sqlite3.connect(path) as connection:
        query = "SELECT count(DISTINCT value) FROM tags WHERE key = 'hsray.cell'"
        cells = connection.execute(query).fetchone()[0]
    connection.close()
    _add(path, count, cells)


def _add(path: Path, count: int, cells: int) -> None:
    connection = sqlite3.connect(path)
    try:
        connection.execute("PRAGMA cache_size = -400000")  # KiB: insertion in random order else reads pages again
        with connection:
            rows = "SELECT experiment_id, artifact_location FROM experiments WHERE name = ?"
            experiment_id, location = connection.execute(rows, (EXPERIMENT,)).fetchone()
            there = connection.execute("SELECT count(*) FROM runs").fetchone()[0]
            indexes = _without_indexes(connection) if count > there else []
            runs = invented(there, count, cells)
            while some := list(islice(runs, AT_ONCE)):
                _insert(connection, some, experiment_id, location)
            for statement in indexes:
                connection.execute(statement)
    finally:
        connection.close()


def _insert(connection: sqlite3.Connection, runs: list[InventedRun], experiment_id: int, location: str) -> None:
    rows: dict[str, Iterator[tuple]] = {
        "runs": (
            (run.run_id, run.name, "UNKNOWN", "", "", "somebody", run.status, run.started_ms, run.ended_ms, "",
             "active", f"{location}/{run.run_id}/artifacts", experiment_id)
            for run in runs
        ),
        "metrics": ((key, value, _at(run), run.run_id, 59, 0) for run in runs for key, value in run.metrics.items()),
        "latest_metrics": (
            (key, value, _at(run), 59, 0, run.run_id) for run in runs for key, value in run.metrics.items()
        ),
        "params": ((key, value, run.run_id) for run in runs for key, value in run.params.items()),
        "tags": (
            (key, value, run.run_id) for run in runs for key, value in ({"mlflow.runName": run.name} | run.tags).items()
        ),
    }  # fmt: skip
    for table, columns in TABLES.items():
        places = ", ".join("?" * len(columns.split(",")))
        connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows[table])


def _at(run: InventedRun) -> int:
    return run.ended_ms or run.started_ms


def _without_indexes(connection: sqlite3.Connection) -> list[str]:
    """Drop the indexes of the tables to fill; how to make them again. Made at the end they cost a third."""
    marks = ", ".join("?" * len(TABLES))
    query = f"SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN ({marks})"
    found = connection.execute(query, tuple(TABLES)).fetchall()
    for name, _ in found:
        connection.execute(f'DROP INDEX "{name}"')
    return [statement for _, statement in found]


def main() -> None:
    """Make a store, or add to one."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.mlflowstore")
    parser.add_argument("path", type=Path, help="the SQLite file")
    parser.add_argument("--runs", type=int, default=RUNS, help="runs of a new store, which replaces one that is there")
    parser.add_argument("--add", type=int, metavar="N", help="add so many runs to the store instead")
    arguments = parser.parse_args()
    started = time.perf_counter()
    if arguments.add is None:
        make_store(arguments.path, arguments.runs)
    else:
        add_runs(arguments.path, arguments.add)
    size = arguments.path.stat().st_size / 2**20
    print(f"sqlite:///{arguments.path.resolve()}: {size:.0f} MiB, {time.perf_counter() - started:.1f} s")


if __name__ == "__main__":
    main()
