"""Over HTTP: what an incremental sync sees, what `full` sees, and a server that dies in the middle."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hsray.errors import RequestError
from hsray.leaderboard.mirror import sync
from hsray.tracking.client import open_client
from tests.benchmarks.mlflowstore import add_runs
from tests.reliability.leaderboard.contents import content, fresh, same
from tests.tracking.stores import Server


@pytest.fixture
def server(uri: str, tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path, uri)
    try:
        server.start()
        yield server
    finally:
        server.kill()


def test_the_same_by_either_way(server: Server, store: Path, uri: str, tmp_path: Path) -> None:
    served, direct = tmp_path / "served", tmp_path / "direct"
    sync(served, server.uri)
    same(content(served), fresh(direct, uri))
    add_runs(store, 60)
    running = open_client(uri).create_run("1", run_name="under way")
    synced = sync(served, server.uri)
    assert synced.way == "client" and 61 <= synced.read < 500
    assert sync(direct, uri).read >= 61
    same(content(served), content(direct))
    client = open_client(uri)
    client.log_metric(running.info.run_id, "test/jaccard_macro", float("nan"))
    client.log_metric(running.info.run_id, "loss", float("inf"))
    client.set_terminated(running.info.run_id)
    sync(served, server.uri)
    sync(direct, uri)
    same(content(served), content(direct))


def test_deleted_restored_and_renamed(server: Server, uri: str, tmp_path: Path) -> None:
    served, direct, client = tmp_path / "served", tmp_path / "direct", open_client(uri)
    sync(served, server.uri)
    sync(direct, uri)
    some = content(direct)["runs"]["run_id"].to_list()
    for run_id in some[:5]:
        client.delete_run(run_id)
    client.update_run(some[7], name="renamed")
    client.rename_experiment("1", "another study")
    assert any("--full" in note for note in sync(served, server.uri).notes)
    sync(served, server.uri, full=True)
    sync(direct, uri)
    same(content(served), content(direct))
    assert set(content(direct)["runs"]["experiment"]) == {"another study"} and len(content(direct)["runs"]) == 995
    for run_id in some[:5]:
        client.restore_run(run_id)
    sync(served, server.uri, full=True)
    sync(direct, uri)
    same(content(served), content(direct))
    assert len(content(direct)["runs"]) == 1000


def test_the_server_dies(server: Server, store: Path, uri: str, tmp_path: Path) -> None:
    """The mirror stays as it was; the next sync, when the server is back, makes it whole."""
    folder = tmp_path / "mirror"
    started = time.monotonic()
    expected = fresh(folder, server.uri)
    lasts = time.monotonic() - started
    add_runs(store, 300)
    for share in (0.0, 0.3, 0.7):
        killer = threading.Timer(share * lasts, server.kill)
        killer.start()
        try:
            sync(folder, server.uri, full=True)
        except RequestError as error:
            assert "does not answer" in str(error) and error.do
        else:  # it was quicker
            expected = content(folder)
        killer.join()
        same(content(folder), expected)
        server.start()
    sync(folder, server.uri)
    same(content(folder), fresh(tmp_path / "direct", uri))
