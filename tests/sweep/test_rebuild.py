"""A ledger that is damaged, lost, foreign, of another version, or behind; and a driver that dies at any instant."""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import optuna
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hsray.errors import HsrayError, RequestError
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.ledger import bracket
from tests.sweep.instants import Clock, Killed, drive, one_cell, table, tuned
from tests.tiny import tiny_store


class Swept:
    """A sweep that nobody disturbed."""

    def __init__(self, root: Path) -> None:
        tiny_store(root)
        self.root, self.experiment = root, tuned()
        self.cells = one_cell(root, self.experiment)
        self.folder, clock = root / "undisturbed", Clock()
        self.folder.mkdir()
        self.table = table(drive(self.cells, self.experiment, self.folder, clock), self.folder)
        self.events = clock.now

    def copy(self, to: Path) -> Path:
        return Path(shutil.copytree(self.folder, to / "sweep"))

    def opened(self, folder: Path, trials: int = 13) -> tuple[Dispatcher, list[str]]:
        said: list[str] = []
        more = tuned(budget={**self.experiment.budget.model_dump(), "trials": trials})
        return Dispatcher(more, self.cells, folder, folder, tell=said.append), said


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Swept:
    return Swept(tmp_path_factory.mktemp("swept"))


def cut(ledger: Path) -> None:
    ledger.write_bytes(ledger.read_bytes()[:20_000])


def scribble(ledger: Path) -> None:
    content = bytearray(ledger.read_bytes())
    content[4096:40960] = bytes(range(256)) * 144
    ledger.write_bytes(content)


def foreign(ledger: Path) -> None:
    ledger.unlink()
    with sqlite3.connect(ledger) as other:
        other.execute("CREATE TABLE runs (run_uuid TEXT)")
    other.close()


def executed(*statements: str) -> Callable[[Path], None]:
    def damage(path: Path) -> None:
        with sqlite3.connect(path) as ledger:
            for statement in statements:
                assert ledger.execute(statement).rowcount
            ledger.commit()
            ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        ledger.close()

    return damage


NO_UTF8 = "CAST(x'7bff22' AS TEXT)"  # no UTF-8
DAMAGE = {
    "truncated": cut, "scribbled over": scribble, "another program's": foreign,
    "empty": lambda ledger: ledger.write_bytes(b""),
    "no UTF-8": executed(f"UPDATE trial_params SET distribution_json = {NO_UTF8} WHERE trial_id = 3"),
    "broken JSON": executed("UPDATE trial_params SET distribution_json = '{\"name\": ' WHERE trial_id = 3"),
    "other JSON": executed("UPDATE trial_params SET distribution_json = '[1]' WHERE trial_id = 3"),
    "a changed value": executed(
        "UPDATE trial_params SET param_value = param_value * 1.001 WHERE trial_id = 3 AND param_name = 'lr'"
    ),
    "a lost value": executed("DELETE FROM trial_params WHERE trial_id = 5 AND param_name = 'lr'"),
    "a changed score": executed(
        "UPDATE trial_values SET value = value + 0.1"
        " WHERE trial_id IN (SELECT trial_id FROM trials WHERE state = 'COMPLETE')"
    ),
    "a changed state": executed("UPDATE trials SET state = 'FAIL' WHERE state = 'COMPLETE'"),
}  # fmt: skip


def settle(folder: Path) -> None:
    """Everything into the one file, as after a clean end."""
    with sqlite3.connect(folder / "ledger.db") as ledger:
        ledger.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    ledger.close()


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_ledger_is_put_aside_and_rebuilt(swept: Swept, tmp_path: Path, damage: str) -> None:
    folder = swept.copy(tmp_path)
    settle(folder)
    DAMAGE[damage](folder / "ledger.db")
    before = (folder / "ledger.db").read_bytes()
    dispatcher, said = swept.opened(folder)
    assert table(dispatcher, folder) == swept.table
    assert "13 trials" in said[-1]
    aside = [path for path in folder.glob("ledger.db.broken-*") if path.suffix != ""]
    kept = {path.read_bytes() for path in aside if not path.name.endswith(("-wal", "-shm"))}
    assert kept == {before}, "what was there is kept"
    assert str(min(aside)) in said[0]
    assert swept.opened(folder)[1] == [], "it is rebuilt once"


def test_a_rebuilt_ledger_suggests_the_same_and_its_bracket_decides_the_same(swept: Swept, tmp_path: Path) -> None:
    """Here by going on: three more trials, from the undamaged ledger and from one rebuilt."""
    more = tuned(budget={**swept.experiment.budget.model_dump(), "trials": 16})
    tables = []
    for name in ("whole", "rebuilt"):
        folder = swept.copy(tmp_path / name)
        if name == "rebuilt":
            settle(folder)
            (folder / "ledger.db").unlink()
        tables.append(table(drive(swept.cells, more, folder, Clock()), folder))
    assert tables[0] == tables[1]
    assert len(tables[0][swept.cells[0].id]) == 16


def test_what_cannot_be_rebuilt_is_said_and_keeps_its_number(swept: Swept, tmp_path: Path) -> None:
    folder = swept.copy(tmp_path)
    trials = folder / "cells" / swept.cells[0].id
    (trials / "trial-0003" / "spec.json").write_text("{")
    shutil.rmtree(trials / "trial-0005")
    (folder / "ledger.db").write_bytes(b"junk")
    dispatcher, said = swept.opened(folder)
    assert "11 trials" in said[-1] and "trial 3 of" in said[-1] and "trial 5 of" in said[-1]
    rebuilt, whole = table(dispatcher, folder)[swept.cells[0].id], swept.table[swept.cells[0].id]
    assert [number for number in range(13) if rebuilt[number] != whole[number]] == [3, 5]
    assert {rebuilt[3][0], rebuilt[5][0]} == {"FAIL"}
    assert (trials / "trial-0003" / "spec.json").read_text() == "{"


def test_a_ledger_that_lost_its_tail_is_completed_from_the_folders(swept: Swept, tmp_path: Path) -> None:
    folder = swept.copy(tmp_path)
    settle(folder)
    with sqlite3.connect(folder / "ledger.db") as ledger:  # as when the machine lost its power
        for part in ("params", "values", "intermediate_values", "system_attributes"):
            ledger.execute(f"DELETE FROM trial_{part} WHERE trial_id > 8")
        ledger.execute("DELETE FROM trials WHERE trial_id > 8")
        ledger.execute("DELETE FROM trial_intermediate_values WHERE trial_id = 8")
        ledger.execute("DELETE FROM trial_values WHERE trial_id = 8")
        ledger.execute("UPDATE trials SET state = 'RUNNING', datetime_complete = NULL WHERE trial_id = 8")
    ledger.close()
    assert "5 trials" in swept.opened(folder)[1][-1]
    assert table(drive(swept.cells, swept.experiment, folder, Clock()), folder) == swept.table


def test_a_trial_without_its_values_is_not_believed(swept: Swept, tmp_path: Path) -> None:
    """Nor can its folder say them; the finals would be those of another configuration."""
    folder = swept.copy(tmp_path)
    spec = folder / "cells" / swept.cells[0].id / "trial-0004" / "spec.json"
    spec.rename(folder / "spec")
    with sqlite3.connect(folder / "ledger.db") as ledger:
        ledger.execute("DELETE FROM trial_params WHERE trial_id = 5 AND param_name = 'lr'")
    ledger.close()
    with pytest.raises(HsrayError, match=r"trial 4 of .* is not whole: 'lr'"):
        swept.opened(folder)
    (folder / "spec").rename(spec)
    (folder / "ledger.db").rename(folder / "by-hand.db")
    for log in folder.glob("ledger.db-*"):
        log.unlink()
    assert table(swept.opened(folder)[0], folder) == swept.table


def test_a_ledger_whose_tables_are_damaged_says_what_to_do(swept: Swept, tmp_path: Path) -> None:
    """SQLite's check passes it, and Optuna does not come to its end."""
    folder = swept.copy(tmp_path)
    with sqlite3.connect(folder / "ledger.db") as ledger:
        ledger.execute("ALTER TABLE version_info RENAME COLUMN library_version TO library_versiom")
    ledger.close()
    with pytest.raises(HsrayError, match="cannot be used: no such column") as error:
        swept.opened(folder)
    assert "rename it" in str(error.value.do) and "rebuilds it" in str(error.value.do)


def test_versions(swept: Swept, tmp_path: Path) -> None:
    folder = swept.copy(tmp_path)
    settle(folder)

    def version(number: int) -> None:
        with sqlite3.connect(folder / "ledger.db") as ledger:
            ledger.execute(f"PRAGMA user_version={number}")
        ledger.close()

    version(99)
    with pytest.raises(RequestError, match="newer version") as error:
        swept.opened(folder)
    assert error.value.do == "pip install -U hsray"
    version(0)  # of before there were versions
    assert table(swept.opened(folder)[0], folder) == swept.table
    with sqlite3.connect(folder / "ledger.db") as ledger:
        assert ledger.execute("PRAGMA user_version").fetchone() == (1,)
        ledger.execute("UPDATE alembic_version SET version_num = 'v99.0.0.a'")
    ledger.close()
    with pytest.raises(RequestError, match="newer Optuna"):
        swept.opened(folder)
    assert not list(folder.glob("ledger.db.broken*"))


def test_a_locked_ledger_is_no_damage(swept: Swept, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = swept.copy(tmp_path)
    dispatcher, _ = swept.opened(folder, trials=14)
    with dispatcher.ledger.engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA busy_timeout=10")
    other = sqlite3.connect(folder / "ledger.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(HsrayError, match="the ledger cannot be written: database is locked") as error:
        dispatcher.next_job()
    assert "the same command again" in str(error.value.do)
    other.close()
    with pytest.raises(HsrayError, match="cannot be written"):
        dispatcher.ledger.patiently(lambda: None)  # nothing more is tried
    assert table(drive(swept.cells, swept.experiment, folder, Clock()), folder) == swept.table


@settings(max_examples=3, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_driver_killed_at_any_instant_loses_nothing(swept: Swept, data: st.DataObject) -> None:
    """All instants, one by one: tests/reliability/test_instants.py."""
    deaths = data.draw(st.lists(st.integers(0, swept.events // 2), min_size=1, max_size=2))
    with tempfile.TemporaryDirectory(dir=swept.root) as scratch:
        folder = Path(scratch)
        for instant in deaths:
            try:
                drive(swept.cells, swept.experiment, folder, Clock(dies_at=instant))
            except Killed:
                continue
        assert table(drive(swept.cells, swept.experiment, folder, Clock()), folder) == swept.table


@settings(max_examples=25, deadline=None)
@given(
    scores=st.lists(st.lists(st.sampled_from([0.1, 0.2, 0.3, 0.5, float("nan")]), min_size=1, max_size=9), max_size=9),
    first=st.integers(1, 3),
    factor=st.integers(2, 4),
)
def test_the_bracket_is_optunas(scores: list[list[float]], first: int, factor: int) -> None:
    pruner = optuna.pruners.SuccessiveHalvingPruner(first, factor, 0)
    study = optuna.create_study(direction="maximize", pruner=pruner)
    others: list[dict[int, float]] = []
    for trial_scores in scores:
        trial, own = study.ask(), {}
        for step, value in enumerate(trial_scores, 1):
            own[step] = value
            trial.report(value, step)
            stopped = trial.should_prune()
            assert bracket.stops(own, step, others, first, factor) == stopped
            if stopped:
                break
        others.append(own)
