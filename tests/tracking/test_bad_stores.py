from __future__ import annotations

import socket
import time
from pathlib import Path

import pytest

from hsray.errors import RequestError
from hsray.tracking import Tracker
from hsray.tracking.client import open_client, redacted
from tests.tracking.stores import free_port


def refusal(uri: str) -> RequestError:
    started = time.monotonic()
    with pytest.raises(RequestError) as caught:
        Tracker(uri, "demo").check()
    assert time.monotonic() - started < 12
    assert caught.value.do
    return caught.value


def test_nobody_listens() -> None:
    assert "MLflow does not answer" in refusal(f"http://127.0.0.1:{free_port()}").what


def test_somebody_listens_and_says_nothing() -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        assert "MLflow does not answer" in refusal(f"http://127.0.0.1:{mute.getsockname()[1]}").what


def test_no_folder_for_the_database(tmp_path: Path) -> None:
    assert "unable to open" in refusal(f"sqlite:///{tmp_path}/nowhere/mlflow.db").what


def test_a_file_that_is_no_database(tmp_path: Path) -> None:
    (tmp_path / "mlflow.db").write_text("I am a letter to my aunt. " * 100)
    assert "not a database" in refusal(f"sqlite:///{tmp_path}/mlflow.db").what


def test_a_deleted_experiment_is_refused(uri: str) -> None:
    client = open_client(uri)
    client.delete_experiment(client.create_experiment("demo"))
    error = refusal(uri)
    assert "was deleted" in error.what
    assert "restore" in str(error.do)


def test_passwords_are_not_shown() -> None:
    port = free_port()
    error = refusal(f"http://ada:geheim@127.0.0.1:{port}")
    assert "geheim" not in str(error)
    assert error.where == f"http://***@127.0.0.1:{port}"
    assert redacted("postgresql://ada:geheim@db/mlflow?sslkey=geheim") == "postgresql://***@db/mlflow"
