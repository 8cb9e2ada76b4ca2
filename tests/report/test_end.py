"""What a sweep's end says of its report, and what it leaves in MLflow, where something goes wrong."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import hsray.demo
from hsray.cli import app
from hsray.commands.report import keep_report, write_report
from hsray.errors import RequestError
from hsray.report.__main__ import main
from hsray.tracking.client import open_client
from tests.tracking.conftest import empty_store, uri

__all__ = ["empty_store", "uri"]


@pytest.fixture
def no_keys(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing on this machine gives the keys of an S3 store."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("MLFLOW_S3_ENDPOINT_URL", "http://127.0.0.1:9")


@pytest.mark.usefixtures("no_keys")
def test_a_report_that_no_store_takes_is_written_and_its_run_closed(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    client = open_client(uri)
    id = client.create_experiment("demo", artifact_location="s3://nowhere/demo")
    client.create_run(id)
    assert main("demo", tmp_path, uri) == 1
    assert capfd.readouterr().err.splitlines()[-1] == "NoCredentialsError: Unable to locate credentials"
    (tmp_path / "html.py").write_text("raise SystemExit('a module of the working directory')")
    monkeypatch.chdir(tmp_path)
    keep_report("demo", tmp_path, uri)
    told = capfd.readouterr()
    assert "the report is written, but not in MLflow: NoCredentialsError" in " ".join(told.err.split())
    assert told.out == f"report:        {tmp_path / 'report.html'}\n"
    assert "<html" in (tmp_path / "report.html").read_text("utf-8")
    [run] = client.search_runs([id], "tags.`hsray.kind` = 'report'")
    assert run.info.status == "FAILED" and run.info.end_time


def test_a_process_that_cannot_start_fails_no_sweep(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    (tmp_path / "report.html").write_text("an older one")
    keep_report("demo", tmp_path, "http://user:word@127.0.0.1:9")
    told = capfd.readouterr()
    assert "no report was written: its process could not be started" in told.err and not told.out
    do = f"hsray report demo --tracking-uri 'http://***@127.0.0.1:9' --out {tmp_path / 'report.html'} --overwrite\n"
    assert do in told.err


def test_a_report_is_a_file(tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="this is a folder") as raised:
        write_report("demo", "sqlite:///none.db", tmp_path / "mirror", tmp_path, synced=True, overwrite=True)
    assert raised.value.do == f"--out {tmp_path / 'report.html'}"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("value", "wanted"), [("0", False), ("1", True), (None, True)])
def test_the_demo_heeds_the_environment(monkeypatch: pytest.MonkeyPatch, value: str | None, wanted: bool) -> None:
    asked: list[bool] = []
    monkeypatch.setattr(hsray.demo, "run_demo", lambda *_, report, **__: asked.append(report))
    done = CliRunner().invoke(app, ["demo"], env={"HSRAY_REPORT": value})
    assert done.exit_code == 0 and asked == [wanted]
