"""A store whose schema this hsray does not know, or that is none."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from hsray.errors import RequestError
from hsray.leaderboard.mirror import direct, sync
from hsray.tracking.client import open_client
from tests.reliability.leaderboard.contents import content, fresh, same
from tests.tracking.stores import Server


def revision(store: Path, value: str) -> None:
    with sqlite3.connect(store) as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (value,))
    connection.close()


def test_unknown_but_mlflow_reads_it(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As after an upgrade of MLflow: its client is asked, which is told, and the same is read."""
    expected = fresh(tmp_path / "direct", uri)
    monkeypatch.setattr(direct, "KNOWN", ())
    synced = sync(tmp_path / "client", uri)
    assert synced.way == "client"
    assert any("does not know" in note for note in synced.notes)
    same(content(tmp_path / "client"), expected)
    monkeypatch.undo()
    synced = sync(tmp_path / "client", uri)
    assert (synced.way, synced.read, synced.removed) == ("direct", 0, 0), "the way back reads nothing twice"


def test_neither_knows_it(store: Path, uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    expected = fresh(folder, uri)
    revision(store, "0123456789ab")
    with pytest.raises(RequestError) as refused:
        sync(folder, uri)
    assert refused.value.do
    same(content(folder), expected)


def test_changed_under_a_running_server(store: Path, uri: str, tmp_path: Path) -> None:
    """The server that made the schema still answers: the store is then read through it."""
    server = Server(tmp_path, uri)
    try:
        server.start()
        open_client(server.uri)  # from now on the server has the store open
        revision(store, "0123456789ab")
        synced = sync(tmp_path / "mirror", server.uri)
    finally:
        server.kill()
    assert (synced.way, synced.read) == ("client", 1000)


@pytest.mark.parametrize("break_it", ["no table", "text", "empty", "cut off"])
def test_no_store(store: Path, uri: str, tmp_path: Path, break_it: str) -> None:
    if break_it == "no table":
        with sqlite3.connect(store) as connection:
            connection.execute("DROP TABLE alembic_version")
        connection.close()
    elif break_it == "cut off":
        with store.open("r+b") as file:
            file.truncate(store.stat().st_size // 2)
    else:
        store.write_bytes(b"" if break_it == "empty" else b"once upon a time " * 1000)
    with pytest.raises(RequestError) as refused:
        sync(tmp_path / "mirror", uri)
    assert "mlflow.db" in str(refused.value.where)
