"""The direct read over every revision of MLflow's schema that it claims to know."""

from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest
from alembic import command
from mlflow.store.db.utils import _get_alembic_config, _get_latest_schema_revision
from mlflow.store.tracking.dbmodels.initial_models import Base
from sqlalchemy import create_engine, text

from hsray.leaderboard.mirror import databases, direct
from hsray.leaderboard.mirror.address import Address
from hsray.leaderboard.mirror.parts import KEPT
from hsray.leaderboard.mirror.revisions import KNOWN
from hsray.leaderboard.mirror.store import Wanted

ROWS = (
    "INSERT INTO experiments (experiment_id, name, lifecycle_stage, artifact_location) VALUES (5, 'x', 'active', '/a')",
    "INSERT INTO runs (run_uuid, name, status, start_time, end_time, lifecycle_stage, artifact_uri, experiment_id) "
    "VALUES ('r1', '', 'FINISHED', 1, 2, 'active', '/a/r1', 5), ('r2', 'b', 'FINISHED', 1, 2, 'deleted', '/a/r2', 5)",
    "INSERT INTO tags (key, value, run_uuid) VALUES ('mlflow.runName', 'named', 'r1'), ('hsray.seed', '1', 'r2')",
    "INSERT INTO params (key, value, run_uuid) VALUES ('lr', '0.1', 'r1')",
    "INSERT INTO latest_metrics (key, value, timestamp, step, is_nan, run_uuid) "
    "VALUES ('a', 0, 1, 0, 1, 'r1'), ('b', 2.5, 1, 0, 0, 'r1')",
)


def test_the_installed_one_is_known() -> None:
    assert _get_latest_schema_revision() in KNOWN, "look at what it changed, and add it"


def test_every_revision_reads_alike(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    engine = create_engine(uri)
    Base.metadata.create_all(engine)
    config = _get_alembic_config(uri)
    for revision in KNOWN:
        command.upgrade(config, revision)
        if revision == KNOWN[0]:
            with engine.begin() as connection:
                for row in ROWS:
                    connection.execute(text(row))
        with databases.open_database(Address.of(uri)) as database:
            assert direct.obstacle(database) is None
            found = direct.changes(database, pl.DataFrame(schema=KEPT), Wanted())
        assert found.experiments == {"5": "x"}
        assert found.listed.rows() == [("r1", "5", "named", "FINISHED", 1, 2, "/a/r1")], revision
        metrics = {key: value for _, key, value in found.tables["metrics"].rows()}
        assert metrics == {"a": pytest.approx(float("nan"), nan_ok=True), "b": 2.5}
        assert found.tables["params"].rows() == [("r1", "lr", "0.1")]
        assert found.tables["tags"].rows() == [("r1", "mlflow.runName", "named")]
    engine.dispose()


def test_workspaces_are_left_to_mlflow(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path / 'mlflow.db'}"
    engine = create_engine(uri)
    Base.metadata.create_all(engine)
    command.upgrade(_get_alembic_config(uri), KNOWN[-1])
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO workspaces (name) VALUES ('lab')"))
        connection.execute(text("INSERT INTO experiments (name, workspace) VALUES ('x', 'lab')"))
    engine.dispose()
    with databases.open_database(Address.of(uri)) as database:
        assert "workspaces" in str(direct.obstacle(database))
