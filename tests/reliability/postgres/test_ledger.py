"""The ledger on PostgreSQL: the same as in a file, whoever is killed, and never mixed with another sweep's."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg
import pytest

from hsray.errors import HsrayError, RequestError
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.ledger.database import VARIABLE, open_ledger
from tests.reliability.postgres.server import PASSWORD, Postgres
from tests.sweep.instants import Clock, Killed, drive, one_cell, table, tuned, work
from tests.tiny import tiny_store


class Undisturbed:
    """A sweep with its ledger in a file."""

    def __init__(self, root: Path) -> None:
        tiny_store(root)
        self.experiment, clock = tuned(), Clock()
        self.cells = one_cell(root, self.experiment)
        (root / "sweep").mkdir()
        self.table, self.events = table(self.run(root / "sweep", clock), root / "sweep"), clock.now

    def run(self, folder: Path, clock: Clock) -> Dispatcher:
        return drive(self.cells, self.experiment, folder, clock)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Undisturbed:
    return Undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sweep").mkdir()
    return tmp_path / "sweep"


Make = Callable[[str], str]


def states(url: str) -> dict[str, list[str]]:
    """State of every trial by study."""
    with psycopg.connect(url) as connection:
        rows = connection.execute(
            "SELECT study_name, state::text FROM trials JOIN studies USING (study_id) ORDER BY study_id, number"
        ).fetchall()
    found: dict[str, list[str]] = {}
    for study, state in rows:
        found.setdefault(study, []).append(state)
    return found


def test_a_driver_killed_again_and_again(
    undisturbed: Undisturbed, folder: Path, database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database("ledger")
    monkeypatch.setenv(VARIABLE, url)
    deaths = 0
    for instant in (3, 11, 27, 41, 58, 73, 90):
        try:
            undisturbed.run(folder, Clock(dies_at=instant))
        except Killed:
            deaths += 1
    assert deaths >= 5
    assert table(undisturbed.run(folder, Clock()), folder) == undisturbed.table, "as with a file, and undisturbed"
    assert not (folder / "ledger.db").exists()
    [(study, trials)] = states(url).items()
    assert study == f"sweep/{undisturbed.cells[0].id}"
    assert len(trials) == 13 and "RUNNING" not in trials
    told = "".join(path.read_text(errors="replace") for path in folder.rglob("*") if path.is_file())
    assert PASSWORD not in told, "the address is written nowhere"


def test_the_server_crashes_and_comes_back(
    undisturbed: Undisturbed, folder: Path, database: Make, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database("ledger")
    monkeypatch.setenv(VARIABLE, url)
    said: list[str] = []
    dispatcher = Dispatcher(undisturbed.experiment, undisturbed.cells, folder, folder, tell=said.append)
    for count in range(100):
        if count in (2, 6, 11):
            postgres.stop()
            threading.Timer(2, postgres.start).start()
        job = dispatcher.next_job()
        if job is None:
            break
        work(job, dispatcher, Clock())
    assert table(dispatcher, folder) == undisturbed.table
    assert sum("does not answer" in line for line in said) == 3
    assert sum("answers again" in line for line in said) == 3
    assert PASSWORD not in "".join(said)
    reopened = Dispatcher(undisturbed.experiment, undisturbed.cells, folder, folder)
    assert table(reopened, folder) == undisturbed.table, "and all of it reached the database, once"


def test_a_server_that_stays_away_ends_the_sweep_which_then_goes_on(
    undisturbed: Undisturbed, folder: Path, database: Make, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, database("ledger"))
    dispatcher = Dispatcher(undisturbed.experiment, undisturbed.cells, folder, folder)
    dispatcher.ledger.patience = 2
    work(dispatcher.next_job(), dispatcher, Clock())
    postgres.stop()
    try:
        with pytest.raises(HsrayError, match="has not answered for") as error:
            dispatcher.next_job()
        assert "the same command again" in str(error.value) and PASSWORD not in str(error.value)
        with pytest.raises(RequestError, match="does not answer") as refused:
            open_ledger(folder)
        assert PASSWORD not in str(refused.value) and VARIABLE in str(refused.value)
    finally:
        postgres.start()
    assert table(undisturbed.run(folder, Clock()), folder) == undisturbed.table


def test_two_sweeps_share_a_database_and_do_not_mix(
    undisturbed: Undisturbed, tmp_path: Path, database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database("ledger")
    monkeypatch.setenv(VARIABLE, url)
    tables: list[dict[str, Any]] = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        tables.append(table(undisturbed.run(tmp_path / name, Clock()), tmp_path / name))
    assert tables == [undisturbed.table] * 2
    assert {study: len(trials) for study, trials in states(url).items()} == {
        f"{name}/{undisturbed.cells[0].id}": 13 for name in ("one", "two")
    }
    (tmp_path / "elsewhere" / "one").mkdir(parents=True)
    with pytest.raises(RequestError, match="another sweep's of the same name"):
        undisturbed.run(tmp_path / "elsewhere" / "one", Clock())


def test_a_sweep_moves_from_its_file_to_a_database_and_back(
    undisturbed: Undisturbed, folder: Path, database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Killed):
        undisturbed.run(folder, Clock(dies_at=undisturbed.events // 3))
    monkeypatch.setenv(VARIABLE, database("ledger"))
    with pytest.raises(Killed):
        undisturbed.run(folder, Clock(dies_at=undisturbed.events // 3))
    monkeypatch.delenv(VARIABLE)
    assert table(undisturbed.run(folder, Clock()), folder) == undisturbed.table


def test_a_newer_format_is_refused(
    undisturbed: Undisturbed, folder: Path, database: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = database("ledger")
    monkeypatch.setenv(VARIABLE, url)
    undisturbed.run(folder, Clock())
    with psycopg.connect(url) as connection:
        connection.execute("UPDATE study_user_attributes SET value_json = '99' WHERE key = 'hsray.format'")
    with pytest.raises(RequestError, match="newer version"):
        undisturbed.run(folder, Clock())
