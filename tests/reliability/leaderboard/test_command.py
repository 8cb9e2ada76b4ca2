"""The command itself: SQL that is none, what it imports, and the same table whatever the order of the rows."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from hsray.leaderboard.mirror import sync
from tests.benchmarks.mlflowstore import add_runs
from tests.reliability.leaderboard.test_input import hsray


@pytest.mark.parametrize(
    "sql",
    [
        "", "   ;", "DELETE FROM runs", "DROP TABLE runs", "INSERT INTO runs VALUES (1)", "UPDATE runs SET seed = 1",
        "CREATE TABLE x AS SELECT * FROM runs", "TRUNCATE TABLE runs", "SELECT", "SELECT * FROM",
        "SELECT * FROM nothing",
        "SELECT nothing FROM runs", "SELECT 1; DROP TABLE runs", "select * from read_csv('/etc/passwd')",
        "SELECT * FROM runs WHERE", "-- nothing", "SELECT avg(name) OVER (", "漢字", "SELECT * FROM runs r JOIN",
    ],
)  # fmt: skip
def test_a_query_that_is_none(
    asked: Path, sql: str, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    from hsray.cli import main

    before = {path: path.read_bytes() for path in asked.rglob("*") if path.is_file()}
    monkeypatch.chdir(asked)
    monkeypatch.setattr(sys, "argv", ["hsray", "leaderboard", "--no-sync", "--query", sql])
    with pytest.raises(SystemExit) as ended:
        main()
    said = capsys.readouterr()
    assert ended.value.code == 2 and said.err.startswith("error:") and "do:" in said.err, said
    assert {path: path.read_bytes() for path in asked.rglob("*") if path.is_file()} == before


@pytest.fixture(scope="module")
def asked(many: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("asked")
    sync(folder / "mirror", f"sqlite:///{many}")
    return folder


def test_nothing_heavy_on_the_way(store: Path, uri: str, tmp_path: Path) -> None:
    """Neither the table from the mirror nor a sync by direct read imports what takes seconds."""
    code = (
        "import sys; from hsray.cli import app\n"
        "try: app(sys.argv[1:])\n"
        "except SystemExit as ended: assert not ended.code, ended.code\n"
        "heavy = {'mlflow', 'scipy', 'sklearn', 'torch', 'ray', 'pandas', 'sqlalchemy', 'optuna', 'altair',\n"
        "    'matplotlib', 'streamlit', 'great_tables'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )  # fmt: skip
    where = ("--tracking-uri", uri, "--mirror", str(tmp_path / "mirror"))
    for options in ((), ("--no-sync",), ("--no-sync", "--format", "latex"), ("--no-sync", "--curve")):
        add_runs(store, 10)
        command = [sys.executable, "-c", code, "leaderboard", "study", *where, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
        assert done.returncode == 0, done.stderr


def test_the_same_table_to_the_last_digit(store: Path, uri: str, tmp_path: Path) -> None:
    """Whatever the order of the rows in the store."""
    where = ("study", "--tracking-uri", uri, "--format", "json")
    first = hsray(tmp_path, *where, "--mirror", "first").stdout
    with sqlite3.connect(store) as connection:
        for table in ("runs", "latest_metrics", "params", "tags"):
            connection.execute(f"CREATE TEMP TABLE kept AS SELECT * FROM {table} ORDER BY random()")
            connection.execute(f"DELETE FROM {table}")
            connection.execute(f"INSERT INTO {table} SELECT * FROM kept")
            connection.execute("DROP TABLE kept")
    connection.close()
    second = hsray(tmp_path, *where, "--mirror", "second").stdout
    assert first and first == second
