"""Artefacts that only an MLflow server hands out."""

from __future__ import annotations

from pathlib import Path

import pytest

from hsray.errors import RequestError
from hsray.leaderboard.mirror import Mirror, sync
from hsray.tracking.client import open_client
from tests.tracking.stores import Server


def test_from_a_server(empty: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    server, folder = Server(tmp_path, empty), tmp_path / "mirror"
    (tmp_path / "curve.png").write_bytes(b"picture")
    try:
        server.start()
        client = open_client(server.uri)
        run_id = client.create_run(client.create_experiment("demo")).info.run_id
        client.log_artifact(run_id, str(tmp_path / "curve.png"), "plots")
        client.set_terminated(run_id)
        sync(folder, server.uri)
        mirror = Mirror(folder)
        path = mirror.artifact(run_id, "plots/curve.png")
        assert path is not None and path.read_bytes() == b"picture"
        assert mirror.artifact(run_id, "curve.png") is None and mirror.artifact(run_id, "plots") is None
        sync(tmp_path / "direct", empty)
        monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
        with pytest.raises(RequestError, match="by an MLflow server only"):
            Mirror(tmp_path / "direct").artifact(run_id, "plots/curve.png")
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        path = Mirror(tmp_path / "direct").artifact(run_id, "plots/curve.png")
        assert path is not None and path.read_bytes() == b"picture"
    finally:
        server.kill()
    assert mirror.artifact(run_id, "plots/curve.png") is not None, "kept"
    with pytest.raises(RequestError, match="does not answer"):
        mirror.artifact(run_id, "plots/other.png")
    assert [path.name for path in (folder / "artifacts").rglob("*") if path.is_file()] == ["curve.png"]
