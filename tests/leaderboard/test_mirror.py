"""The mirror holds what MLflow holds, whichever way it is read, and MLflow notices nothing."""

from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path

import polars as pl
import pytest
from polars.testing import assert_frame_equal

from hsray.errors import HsrayError, RequestError
from hsray.leaderboard.mirror import Mirror, direct, parts, served, source_name, sync
from hsray.leaderboard.mirror.files import PARTS
from hsray.leaderboard.runs import SCHEMA, load
from hsray.tracking.client import open_client
from tests.leaderboard.oddstore import SCORES, Store, fill
from tests.tracking.conftest import empty_store, uri

__all__ = ["empty_store", "uri"]
TABLES = ("metrics", "params", "tags")


def content(folder: Path) -> dict[str, pl.DataFrame]:
    mirror = Mirror(folder, offline=True)
    long = {table: getattr(mirror, table)().collect().sort("run_id", "key") for table in TABLES}
    return {"runs": mirror.runs().collect()} | long


def assert_same(found: dict[str, pl.DataFrame], expected: dict[str, pl.DataFrame]) -> None:
    for name, frame in expected.items():
        assert_frame_equal(found[name], frame, check_exact=True)


def test_both_ways_give_the_same(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = fill(Store(open_client(uri)))
    database = Path(uri.removeprefix("sqlite:///"))
    before = database.read_bytes()
    assert sync(tmp_path / "direct", uri).way == "direct"
    found = content(tmp_path / "direct")
    assert_frame_equal(found["runs"].select(list(SCHEMA)), load("demo", uri), check_exact=True)
    monkeypatch.setattr(direct, "KNOWN", ())
    synced = sync(tmp_path / "client", uri)
    assert synced.way == "client" and "does not know" in synced.notes[0]
    assert_same(content(tmp_path / "client"), found)
    assert sync(tmp_path / "client", uri).read >= 1, "what runs is read again"
    assert_same(content(tmp_path / "client"), found)
    monkeypatch.undo()
    assert sync(tmp_path / "client", uri).way == "direct", "the way may change"
    assert_same(content(tmp_path / "client"), found)
    assert database.read_bytes() == before, "nothing is written"
    assert [path.name for path in database.parent.glob("mlflow.db*")] == ["mlflow.db"]

    del ids["deleted"]
    assert found["runs"]["run_id"].to_list() == list(ids.values()), "oldest first"
    runs = dict(zip(ids, found["runs"].iter_rows(named=True), strict=True))
    assert {name: run["state"] for name, run in runs.items() if run["problem"] is None} == {
        "complete": "complete", "pruned": "pruned", "failed": "failed", "killed": "killed", "running": "running",
        "superseded": "complete", "cell": "complete",
    }  # fmt: skip
    assert {name: run["problem"] for name, run in runs.items() if run["problem"]} == {
        "no tags": "no tag hsray.cell, hsray.family, hsray.axes",
        "nan": "no finite metric test/f1_macro",
        "infinite": "no finite metric test/f1_macro",
        "no metrics": "no finite metric test/accuracy_micro, test/accuracy_macro, test/jaccard_macro",
        "seed": "the tag hsray.seed is not a number",
        "axes": "the tag hsray.axes is not JSON",
        "list": "the tag hsray.axes is not a JSON object",
        "deep": "the tag hsray.axes is not JSON",
        "no dataset": "the tag hsray.axes names no dataset",
        "fraction": "the tag hsray.axes has a fraction that is none",
        "kind": "the tag hsray.kind is neither trial nor final",
        "no state": "finished without the tag hsray.state",
    }
    assert math.isnan(runs["nan"]["f1_macro"]) and runs["infinite"]["f1_macro"] == math.inf
    assert runs["infinite"]["device_seconds"] == -math.inf
    assert runs["complete"]["seed"] == 7 and runs["failed"]["reason"] == "loss is not finite"
    assert runs["superseded"]["superseded"] and runs["superseded"]["contaminated"]
    assert runs["superseded"]["name"] == "old one" and runs["cell"]["cell_name"] == "a@b"
    assert runs["running"]["ended_ms"] is None and runs["killed"]["ended_ms"] == runs["killed"]["started_ms"] + 10
    assert set(found["params"]["value"]) == {"0.1", "a,\n“b”"}
    assert found["tags"].filter(pl.col("key") == "empty")["value"].unique().to_list() == [""]


def test_what_the_client_sees_has_changed(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(direct, "KNOWN", ())
    folder, store = tmp_path / "mirror", Store(open_client(uri))
    for _ in range(3):
        store.run(metrics=SCORES)
    ends, goes, ended = store.run(None), store.run(None), store.run()
    store.clock += 3_600_000
    newest = store.run()
    sync(folder, uri)
    store.client.set_terminated(ends, "FAILED", store.clock - 3_000_000)
    store.client.delete_run(goes)
    store.client.delete_run(ended)
    store.client.set_tag(newest, "hsray.superseded", "true")
    store.run(None)
    synced = sync(folder, uri)
    assert (synced.read, synced.removed) == (3, 1), "the newest, the new one, that which has ended; one ran and is gone"
    assert any("--full" in note for note in synced.notes)
    assert sync(folder, uri, full=True).removed == 1
    sync(tmp_path / "new", uri)
    assert_same(content(folder), content(tmp_path / "new"))


def test_results_delivered_late_and_superseded_ones_reach_the_client(
    uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A sync while results arrive: they keep their true starts and ends, which are past."""
    monkeypatch.setattr(direct, "KNOWN", ())
    monkeypatch.setattr(served, "BETWEEN", 2)
    folder, store = tmp_path / "mirror", Store(open_client(uri))
    first = store.run(metrics=SCORES, kind="final")
    old = [store.run(metrics=SCORES, kind="final", seed=str(seed)) for seed in range(1, 5)]
    killed, begun = store.run("KILLED", state=None), store.clock
    store.client.delete_run(first)
    store.clock += 3_600_000
    store.run()
    sync(folder, uri)
    for run_id in old[:2]:
        store.client.set_tag(run_id, "hsray.superseded", "true")
    store.client.update_run(killed, status="RUNNING")
    store.client.set_tag(killed, "hsray.state", "complete")
    store.client.set_terminated(killed, "FINISHED", begun + 60)
    store.client.restore_run(first)
    for start in (begun - 1_000_000, begun - 3, begun - 1, begun + 500_000):
        store.clock = start
        store.run(metrics=SCORES, kind="final", seed="7")
    assert sync(folder, uri).read == 9, "two superseded, one taken up, one restored, four late, the newest"
    sync(tmp_path / "new", uri)
    assert_same(content(folder), content(tmp_path / "new"))
    assert sync(folder, uri).read == 1, "what is superseded is not read again"
    store.client.delete_tag(old[0], "hsray.superseded")
    assert sync(folder, uri).read == 2
    sync(folder, uri)
    sync(tmp_path / "again", uri)
    assert_same(content(folder), content(tmp_path / "again"))


def test_only_what_was_asked_for(uri: str, tmp_path: Path) -> None:
    folder, client = tmp_path / "mirror", open_client(uri)
    one, two = Store(client, "one"), Store(client, "two")
    one.run()
    gone = two.run()
    assert sync(folder, uri, ("one",)).read == 1
    assert sync(folder, uri).read == 1
    client.delete_run(gone)
    assert sync(folder, uri, ("one",)).removed == 0
    client.rename_experiment(two.id, "second")
    client.delete_experiment(one.id)
    with pytest.raises(RequestError, match="no experiment 'one'") as refused:
        sync(folder, uri, ("one",))
    assert refused.value.do == "take one of: second"
    assert sync(folder, uri).removed == 2
    assert content(folder)["runs"].is_empty()
    assert Mirror(folder).sources()["experiment"].to_list() == ["Default", "second"]


def test_several_sources(uri: str, empty_store: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    other = f"sqlite:///{tmp_path}/other.db"
    Path(tmp_path / "other.db").write_bytes(empty_store.read_bytes())
    Store(open_client(uri)).run()
    Store(open_client(other)).run()
    assert not sync(folder, uri, ("demo",)).notes
    assert "also mirrored from" in sync(folder, other, ("demo",)).notes[0]
    runs = content(folder)["runs"]
    assert sorted(runs["source"]) == sorted([source_name(uri), source_name(other)])
    assert len(content(folder)["params"].unique(["source", "run_id"])) == 2


def test_parts_are_put_together(uri: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "MOST_PARTS", 3)
    folder, store = tmp_path / "mirror", Store(open_client(uri))
    for _ in range(3):
        store.run(metrics={"loss": 0.5})
    sync(folder, uri)
    for number in range(7):
        store.run(None if number % 2 else "FINISHED", metrics={"loss": number})
        sync(folder, uri)
    assert len(list((folder / PARTS).glob("*metrics*"))) >= 3
    sync(tmp_path / "again", uri)
    assert_same(content(folder), content(tmp_path / "again"))
    (source,) = Mirror(folder).manifest.sources.values()
    assert len(source.parts) <= 3


def test_damage_is_named_and_mended(uri: str, tmp_path: Path) -> None:
    folder, client = tmp_path / "mirror", open_client(uri)
    one, two = Store(client, "one"), Store(client, "two")
    one.run(metrics={"loss": 0.5})
    sync(folder, uri)
    two.run(metrics={"loss": 0.25})
    sync(folder, uri)
    expected = content(folder)
    (source,) = Mirror(folder).manifest.sources.values()
    (folder / PARTS / source.parts[0].files["metrics"].name).unlink()
    with pytest.raises(HsrayError, match=r"metrics\.parquet is missing") as damaged:
        content(folder)
    assert "--no-sync" in str(damaged.value.do)
    synced = sync(folder, uri, ("two",))
    assert "is missing" in synced.notes[0] and synced.read == 1, "what is lost is read, asked for or not"
    assert_same(content(folder), expected)
    (source,) = Mirror(folder).manifest.sources.values()
    assert source.runs is not None
    with (folder / PARTS / source.runs.name).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(HsrayError, match="has 100 of"):
        content(folder)
    assert "has 100 of" in sync(folder, uri, ("two",)).notes[0]
    assert_same(content(folder), expected)


def test_what_is_left_behind_is_removed(uri: str, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    sync(folder, uri)
    for name in ("0123456789ab-000009-runs.parquet", "mine.txt"):
        (folder / PARTS / name).write_text("")
    sync(folder, uri)
    assert "mine.txt" in [path.name for path in (folder / PARTS).iterdir()]
    assert not (folder / PARTS / "0123456789ab-000009-runs.parquet").exists()


@pytest.mark.parametrize("text", ['{"format": 2}', "", "[]", '{"format": 1}'])
def test_another_format_is_refused(uri: str, tmp_path: Path, text: str) -> None:
    (tmp_path / "mirror").mkdir()
    (tmp_path / "mirror" / "mirror.json").write_text(text)
    with pytest.raises(RequestError, match="mirror") as refused:
        sync(tmp_path / "mirror", uri)
    assert "move it away" in str(refused.value.do)
    assert [path.name for path in (tmp_path / "mirror").iterdir()] == ["mirror.json"]


def test_other_folders_are_left_alone(uri: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError, match="holds other things"):
        sync(tmp_path, uri)
    with pytest.raises(RequestError, match="there is no mirror"):
        Mirror(tmp_path)


def test_artifacts_are_kept(uri: str, tmp_path: Path) -> None:
    folder, store = tmp_path / "mirror", Store(open_client(uri))
    ended, running = store.run(), store.run(None)
    (tmp_path / "curve.png").write_bytes(b"picture")
    for run_id in (ended, running):
        store.client.log_artifact(run_id, str(tmp_path / "curve.png"), "plots")
    sync(folder, uri)
    mirror = Mirror(folder)
    assert Mirror(folder, offline=True).artifact(ended, "plots/curve.png") is None
    path = mirror.artifact(ended, "plots/curve.png")
    assert path is not None and path.read_bytes() == b"picture" and folder in path.parents
    Path(uri.removeprefix("sqlite:///")).unlink()
    assert Mirror(folder, offline=True).artifact(ended, "plots/curve.png") == path, "MLflow is not asked again"
    assert mirror.artifact(running, "plots/curve.png") is None, "it may still change"
    assert mirror.artifact(ended, "plots") is None and mirror.artifact(ended, "spec.json") is None
    for name in ("../curve.png", "/etc/passwd", "plots/../../x", "", "a//b", "a\\b", "plots/"):
        with pytest.raises(RequestError, match="no artefact's name"):
            mirror.artifact(ended, name)
    with pytest.raises(RequestError, match="has no run"):
        mirror.artifact("../" + ended, "curve.png")


def test_no_store_is_made(tmp_path: Path) -> None:
    for name, data in (("none.db", None), ("empty.db", b""), ("text.db", b"once upon a time" * 100)):
        if data is not None:
            (tmp_path / name).write_bytes(data)
        with pytest.raises(RequestError) as refused:
            sync(tmp_path / "mirror", f"sqlite:///{tmp_path / name}")
        assert name in str(refused.value.where)
        assert (tmp_path / name).read_bytes() == data if data is not None else not (tmp_path / name).exists()
        assert not (tmp_path / "mirror").exists(), "where nothing can be mirrored, nothing is left"


def test_nothing_heavy_is_imported(uri: str, tmp_path: Path) -> None:
    heavy = ("mlflow", "scipy", "sklearn", "torch", "ray", "sqlalchemy", "psycopg", "pandas", "matplotlib", "altair")
    script = (
        "import sys; from pathlib import Path; from hsray.leaderboard.mirror import Mirror, sync\n"
        "sync(Path(sys.argv[1]), sys.argv[2]); Mirror(Path(sys.argv[1])).runs().collect()\n"
        f"print([name for name in {heavy} if name in sys.modules])"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "mirror"), uri]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("postgresql+psycopg://ada:ge@heim@db:54/ml?sslkey=x&options=-cy", "postgresql://db:54/ml?options=-cy"),
        ("postgres://db/mlflow", "postgresql://db/mlflow"),
        ("https://ada:geheim@mlflow.org/a/?token=x", "https://mlflow.org/a"),
        ("sqlite:////a/b.db?mode=ro", "sqlite:////a/b.db"),
        ("databricks://profile", "databricks://profile"),
    ],
)
def test_names_of_sources_hold_no_secrets(address: str, name: str) -> None:
    assert source_name(address) == name
    assert source_name(name) == name
