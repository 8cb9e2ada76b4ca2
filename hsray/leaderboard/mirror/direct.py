"""MLflow's database read directly: what changed since the mirror, in seconds at a hundred thousand runs.

Only SELECT statements. A run that has ended is read again when its experiment, name, status, start or end differ from
the mirror, or its tag hsray.superseded, the only one that hsray changes after a run's end.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import polars as pl

from hsray.leaderboard.mirror.databases import Database
from hsray.leaderboard.mirror.revisions import KNOWN, WITH_WORKSPACES
from hsray.leaderboard.mirror.store import ENDED, TABLES, Changes, Wanted, schema
from hsray.leaderboard.runs import LISTED

SOURCES = {"metrics": "latest_metrics", "params": "params", "tags": "tags"}
COLUMNS = {
    "metrics": "run_uuid, key, CASE WHEN is_nan THEN NULL ELSE value END",  # MLflow keeps NaN as a flag
    "params": "run_uuid, key, value",
    "tags": "run_uuid, key, value",
}
# The name as MLflow's client tells it.
LISTING = """
    SELECT run_uuid, CAST(experiment_id AS VARCHAR(20)), COALESCE(NULLIF(name, ''),
        (SELECT NULLIF(value, '') FROM tags WHERE tags.run_uuid = runs.run_uuid AND tags.key = 'mlflow.runName')),
        status, start_time, end_time, artifact_uri
    FROM runs WHERE lifecycle_stage = 'active'
"""
SUPERSEDED = "SELECT run_uuid FROM tags WHERE key = 'hsray.superseded' AND value = 'true'"
COMPARED = ("experiment_id", "name", "status", "started_ms", "ended_ms", "superseded")
SOME = 1000  # runs whose values are asked for by one statement
SCAN_SHARE = 0.2  # of all runs; where more are asked for, the whole tables are read


def obstacle(database: Database) -> str | None:
    """Why this database cannot be read directly, null where it can."""
    revisions = [row[0] for row in database.rows("SELECT version_num FROM alembic_version")]
    if len(revisions) != 1 or revisions[0] not in KNOWN:
        named = ", ".join(map(str, revisions)) or "none"
        return f"its schema has a revision that this hsray does not know ({named})"
    if revisions[0] in WITH_WORKSPACES and database.rows(
        "SELECT 1 FROM experiments WHERE workspace <> 'default' LIMIT 1"
    ):
        return "it has workspaces, which MLflow itself keeps apart"
    return None


def experiments_of(database: Database) -> dict[str, str]:
    """The names by id of those that are not deleted."""
    found = database.rows("SELECT experiment_id, name FROM experiments WHERE lifecycle_stage = 'active'")
    return {str(id): name for id, name in sorted(found)}


def changes(database: Database, known: pl.DataFrame, wanted: Wanted) -> Changes:
    """What is to be done to a mirror that holds the runs `known` (the columns COMPARED and run_id) of this source.

    Runs of `known` without a status are read again.
    """
    experiments = experiments_of(database)
    selected = wanted.select(experiments)
    listed = _frame(database.rows(LISTING), LISTED).filter(pl.col("experiment_id").is_in(selected))
    marked = pl.Series([row[0] for row in database.rows(SUPERSEDED)], dtype=pl.String)
    listed = listed.with_columns(pl.col("run_id").is_in(marked.implode()).alias("superseded"))
    elsewhere = pl.col("experiment_id").is_in([id for id in experiments if id not in selected])
    gone = known.filter(~elsewhere).join(listed, on="run_id", how="anti")["run_id"]
    if not wanted.full:
        ended = known.filter(pl.col("status").is_in(ENDED))
        same = listed.join(ended, on=["run_id", *COMPARED], how="semi", nulls_equal=True)
        listed = listed.join(same, on="run_id", how="anti")
    tables = {table: _values(database, table, listed["run_id"]) for table in TABLES}
    return Changes(experiments, selected, listed.drop("superseded"), tables, gone)


def _values(database: Database, table: str, run_ids: pl.Series) -> pl.DataFrame:
    wanted = run_ids.to_frame("run_id")
    frames = [pl.DataFrame(schema=schema(table))]
    for rows in _rows(database, table, run_ids):
        frames.append(_frame(rows, schema(table)).join(wanted, on="run_id", how="semi"))
    frame = pl.concat(frames)
    return frame.with_columns(pl.col("value").fill_null(float("nan"))) if table == "metrics" else frame


def _rows(database: Database, table: str, run_ids: pl.Series) -> Iterator[list[tuple]]:
    columns, source = COLUMNS[table], SOURCES[table]
    if len(run_ids) > SCAN_SHARE * database.rows("SELECT count(*) FROM runs")[0][0]:
        yield from database.scan(columns, source)
        return
    for some in run_ids.to_frame().iter_slices(SOME):
        ids = some.to_series().to_list()
        yield database.rows(f"SELECT {columns} FROM {source} WHERE run_uuid {database.any_of}", (database.array(ids),))


def _frame(rows: list[tuple], dtypes: dict[str, Any]) -> pl.DataFrame:
    columns = list(zip(*rows, strict=True)) or [()] * len(dtypes)
    return pl.DataFrame(list(map(pl.Series, dtypes.keys(), columns, dtypes.values())))
