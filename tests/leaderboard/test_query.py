from __future__ import annotations

from pathlib import Path

import polars as pl
import pytest

from hsray.errors import HsrayError, RequestError
from hsray.leaderboard.mirror import Mirror, sync
from hsray.leaderboard.query import query
from tests.leaderboard.conftest import Deliver
from tests.leaderboard.test_table import finals


@pytest.fixture
def mirror(delivered: Deliver, sweep_dir: Path, tmp_path: Path) -> Mirror:
    finals(sweep_dir, 0.7, 2)
    finals(sweep_dir, 0.9, 1, strategy="hypersl")
    sync(tmp_path / "mirror", delivered())
    return Mirror(tmp_path / "mirror")


def test_all_that_reads_is_answered_and_all_else_refused_in_words(mirror: Mirror, tmp_path: Path) -> None:
    """One store serves every statement: making one takes longer than all of them."""
    answer = query(
        mirror, "SELECT strategy, COUNT(*) AS n, AVG(jaccard_macro) AS j FROM runs GROUP BY strategy ORDER BY n"
    )
    assert answer.frame.select("strategy", "n").rows() == [("hypersl", 1), ("runet", 2)]
    assert [column.align for column in answer.columns] == ["left", "right", "right"]
    joined = """-- the learning rates
        WITH lr AS (SELECT run_id, value FROM params WHERE key = 'lr')
        SELECT r.strategy, m.value AS jaccard, lr.value AS lr FROM runs r
        JOIN metrics m ON r.run_id = m.run_id JOIN lr ON lr.run_id = r.run_id
        WHERE m.key = 'test/jaccard_macro'; """
    assert query(mirror, joined).frame.height == 3
    assert query(mirror, "SHOW TABLES").frame["name"].sort().to_list() == ["metrics", "params", "runs", "tags"]
    assert query(mirror, "explain SELECT * FROM tags").frame.height > 0
    assert query(mirror, "(SELECT 1 AS one)").frame.item() == 1

    cut = query(mirror, "SELECT * FROM runs", limit=2)
    assert cut.frame.height == 2
    assert any("1 of 3 rows are not shown" in note for note in cut.notes)
    assert not any("not shown" in note for note in query(mirror, "SELECT * FROM runs", limit=3).notes)

    before = {path: path.stat().st_mtime_ns for path in mirror.folder.rglob("*")}
    secret = tmp_path / "secret.csv"
    secret.write_text("a,b\n1,2\n")
    refused = {
        "": "empty",
        " -- nothing": "empty",
        "DROP TABLE runs": "cannot start with 'DROP'",
        "/* SELECT */ TRUNCATE TABLE runs": "cannot start with 'TRUNCATE'",
        "DELETE FROM runs": "cannot start with 'DELETE'",
        "CREATE TABLE x AS SELECT * FROM runs": "cannot start with 'CREATE'",
        "EXPLAIN DROP TABLE runs": "cannot start with 'EXPLAIN'",
        "INSERT INTO runs VALUES (1)": "cannot start with 'INSERT'",
        "UPDATE runs SET state = ''": "cannot start with 'UPDATE'",
        "COPY runs TO '/tmp/x'": "cannot start with 'COPY'",
        "SELECT 1; DROP TABLE runs": "one statement",
        "SELECT * FROM runs WHERE": "cannot be understood",
        "SELECT ((1 FROM runs": "cannot be understood",
        "SELECT nope FROM runs": "no column 'nope'",
        "SELECT r.nope FROM runs r": "no column 'nope'",
        "SELECT * FROM nope": "no table 'nope'",
        f"SELECT * FROM '{secret}'": "no table",
        "SELECT nope(strategy) FROM runs": "unsupported function 'nope'",
        "SELECT strategy + 1.5 FROM runs": "cannot be answered",
        "SELECT CAST(strategy AS INT) FROM runs": "cannot be answered",
        "SELECT " + "(" * 400 + "1" + ")" * 400: "cannot be understood",
    }
    for call in (
        "read_csv({})", "READ_CSV ({})", '"read_csv"({})', "'read_csv'({})", "`read_csv`({})", "read_csv/**/({})",
        "runs, read_csv({})", "runs WHERE state IN (SELECT a FROM read_csv({}))", "read_parquet({})", "read_ipc({})",
        "read_json({})", "read_ndjson({})", "scan_csv({})", "read_delta({})",
    ):  # fmt: skip
        refused["SELECT * FROM " + call.format(f"'{secret}'")] = "no other files"
    for sql, reason in refused.items():
        with pytest.raises(RequestError) as raised:
            query(mirror, sql)
        assert reason in raised.value.what, sql
        assert raised.value.do, sql
        assert "\n" not in raised.value.what, sql
    with pytest.raises(RequestError, match="no column 'strategie'") as raised:
        query(mirror, "SELECT strategie FROM runs")
    assert "jaccard_macro" in str(raised.value.do)
    assert {path: path.stat().st_mtime_ns for path in mirror.folder.rglob("*")} == before


def test_polars_knows_no_table_function_that_is_not_refused(tmp_path: Path) -> None:
    """Should a release of polars add one, its name has to begin as those do that are refused."""
    path = tmp_path / "one.csv"
    path.write_text("a\n1\n")
    open_files = {"read_csv", "read_parquet", "read_ipc", "read_json", "read_ndjson"}
    for name in (*open_files, "csv", "parquet", "glob", "from_csv", "load_csv", "delta_scan", "file", "open", "unnest"):
        try:
            pl.SQLContext().execute(f"SELECT * FROM {name}('{path}')").collect()
            known = True
        except (pl.exceptions.PolarsError, OSError) as error:
            known = "not a supported table function" not in str(error) and "UNNEST" not in str(error)
        assert known == (name in open_files), name


def test_a_damaged_mirror_is_named(mirror: Mirror) -> None:
    for path in mirror.folder.rglob("*.parquet"):
        path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(HsrayError, match="damaged"):
        query(Mirror(mirror.folder), "SELECT * FROM runs")
