"""A store in PostgreSQL: read directly as MLflow's client reads it, by an account that may not write."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import psycopg
import pytest

from hsray.errors import RequestError
from hsray.leaderboard.mirror import direct, sync
from hsray.tracking import Tracker
from hsray.tracking.client import open_client
from tests.reliability.leaderboard.contents import content, fresh, same
from tests.reliability.leaderboard.test_writers import as_the_client_reads
from tests.reliability.postgres.server import PASSWORD, Postgres
from tests.tracking.folders import HERE, FakeRun

READER = "reader"


@pytest.fixture
def delivered(database: Callable[[str], str], tmp_path: Path) -> str:
    """The address of a store with thirty trials and three finals, one of them with a metric that is not a number."""
    uri, sweep, generator = database("mlflow"), tmp_path / "runs" / "demo", np.random.default_rng(0)
    sweep.mkdir(parents=True)
    (sweep / "manifest.json").write_text("{}")
    for number in range(30):
        FakeRun(sweep, number=number).start().epochs(0, 2).end("PRUNED" if number % 3 else "COMPLETE")
    for seed in range(3):
        FakeRun(sweep, "final", seed).start().epochs(0, 2).end_final(generator)
    tracker = Tracker(uri, "demo")
    tracker.reconcile(sweep, HERE)
    assert tracker.flush(120) == 0
    tracker.close()
    client = open_client(uri)
    run = client.search_runs(["1"], "tags.`hsray.kind` = 'final'")[0]
    client.log_metric(run.info.run_id, "test/jaccard_macro", float("nan"), step=99)
    client.log_metric(run.info.run_id, "loss", float("-inf"))
    return uri


def only_reading(uri: str) -> str:
    """The same store by an account that may only read."""
    with psycopg.connect(uri, autocommit=True) as connection:
        if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", (READER,)).fetchone():
            connection.execute(f"CREATE ROLE {READER} LOGIN PASSWORD '{PASSWORD}'")
        connection.execute(f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {READER}")
    return uri.replace("hsray:", f"{READER}:", 1)


def test_as_the_client_reads_it(delivered: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "direct"
    synced = sync(folder, only_reading(delivered))
    assert (synced.way, synced.read) == ("direct", 33)
    as_the_client_reads(folder, "demo", delivered)
    monkeypatch.setattr(direct, "KNOWN", ())
    assert sync(tmp_path / "client", delivered).way == "client"
    same(content(tmp_path / "client"), content(folder))
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    assert PASSWORD.encode() not in kept, "the password is written nowhere"


def test_deleted_restored_and_renamed(delivered: str, tmp_path: Path) -> None:
    folder, uri, client = tmp_path / "mirror", only_reading(delivered), open_client(delivered)
    runs = fresh(folder, uri)["runs"]["run_id"].to_list()
    assert sync(folder, uri).read == 0
    client.delete_run(runs[0])
    client.update_run(runs[1], name="renamed")
    client.set_tag(runs[2], "hsray.superseded", "true")
    client.rename_experiment("1", "another")
    synced = sync(folder, uri)
    assert (synced.read, synced.removed) == (2, 1)
    same(content(folder), fresh(tmp_path / "again", uri))
    client.restore_run(runs[0])
    assert sync(folder, uri).read == 1
    client.delete_experiment("1")
    sync(folder, uri)
    assert content(folder)["runs"].is_empty()
    client.restore_experiment("1")
    sync(folder, uri)
    same(content(folder), fresh(tmp_path / "restored", uri))
    assert len(content(folder)["runs"]) == 33


def test_the_server_crashes(delivered: str, postgres: Postgres, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    expected = fresh(folder, delivered)
    postgres.stop()
    try:
        with pytest.raises(RequestError) as refused:
            sync(folder, delivered)
        assert PASSWORD not in str(refused.value) and "127.0.0.1" in str(refused.value.where)
        same(content(folder), expected)
    finally:
        postgres.start()
    sync(folder, delivered)
    same(content(folder), expected)


def test_no_store(database: Callable[[str], str], tmp_path: Path) -> None:
    uri = database("empty")
    with pytest.raises(RequestError, match="no MLflow store"):
        sync(tmp_path / "mirror", uri)
    with pytest.raises(RequestError) as refused:
        sync(tmp_path / "mirror", uri.replace(PASSWORD, "wrong"))
    assert "wrong" not in str(refused.value)
