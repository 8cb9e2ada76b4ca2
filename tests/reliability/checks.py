"""What must hold of a sweep that went on after a fault, whatever the fault was."""

from __future__ import annotations

import json
import sqlite3
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from hsray.leaderboard import render, table
from hsray.leaderboard.runs import load
from hsray.runlog import read_epochs
from tests.reliability.scene import CELLS, NAME, SEEDS, TRIALS, Scene
from tests.reliability.watch import Watch

COSTS = ("device_seconds", "features_seconds")
FORMS = ("dataset", "fraction", "strategy", "family", "seeds", "test_reads", "cell")  # whatever the order of trials


@dataclass
class Findings:
    """What is wrong with a sweep: counts by column of the table, and every single thing in words."""

    lost: int = 0
    doubled: int = 0
    orphaned: int = 0
    epochs_lost: int = 0
    table: bool = True
    words: list[str] = field(default_factory=list)

    def add(self, column: str, words: str, count: int = 1) -> None:
        setattr(self, column, getattr(self, column) + count)
        self.words.append(words)

    @property
    def clean(self) -> bool:
        return self.table and not self.words


class Expected:
    """What undisturbed sweeps gave: table and count of epochs by shape, scores of every configuration and seed."""

    def __init__(self) -> None:
        self.tables: dict[str, list[dict[str, Any]]] = {}
        self.epochs: dict[str, int] = {}
        self.scores: dict[tuple[bool, str], dict[str, float]] = {}
        self.lock = threading.Lock()

    def same_scores(self, scene: Scene, key: str, scores: dict[str, float]) -> bool:
        """True: another sweep's final of this configuration and seed had these scores too, or there was none."""
        with self.lock:
            return self.scores.setdefault((scene.shape == "workers", key), scores) == scores


def check(scene: Scene, watch: Watch, expected: Expected) -> Findings:
    """Everything that can be said of the sweep's folder, ledger, MLflow runs and table."""
    found = Findings()
    _folders(scene, expected, found)
    _mlflow(scene, found)
    _ledger(scene, found)
    for words in watch.lost():
        found.add("epochs_lost", words)
    rows = leaderboard(scene)
    wanted = expected.tables.get(scene.shape if scene.deterministic else "one")
    if wanted is not None:
        forms = () if scene.deterministic else FORMS
        differing = _differences(_formed(wanted, forms), _formed(rows, forms))
        found.table = found.table and not differing
        found.words += [f"table: {words}" for words in differing]
    return found


def leaderboard(scene: Scene) -> list[dict[str, Any]]:
    """The rows of the table in its JSON, without what things took."""
    rows = json.loads(render(table(load(NAME, f"sqlite:///{scene.store}")), "json"))["rows"]
    return [{name: value for name, value in row.items() if name not in COSTS} for row in rows]


def _formed(rows: list[dict[str, Any]], forms: tuple[str, ...]) -> dict[str, dict[str, Any]]:
    """Rows by cell; only these columns of them where some are named, as the order depends on the scores."""
    return {row["cell"]: {name: row[name] for name in forms or row} for row in rows}


def _differences(wanted: dict[str, dict[str, Any]], rows: dict[str, dict[str, Any]]) -> list[str]:
    found = [f"{cell}: a row is missing or too much" for cell in sorted(wanted.keys() ^ rows.keys())]
    return found + [
        f"{cell}: {name} is {rows[cell][name]}, undisturbed {value}"
        for cell in sorted(wanted.keys() & rows.keys())
        for name, value in wanted[cell].items()
        if rows[cell][name] != value
    ]


def _folders(scene: Scene, expected: Expected, found: Findings) -> None:
    ended: Counter[str] = Counter()
    for path in scene.results():
        result = json.loads(path.read_text())
        run, kind = f"{path.parent.parent.name}/{path.parent.name}", path.parent.name.split("-")[0]
        ended[kind] += 1
        if result["state"] not in ("COMPLETE", "PRUNED"):
            found.add("lost", f"{run} is {result['state']}: {result['reason']}")
        numbers = [record["epoch"] for record in read_epochs(path.parent)]
        if numbers != list(range(len(numbers))):
            found.add("epochs_lost", f"{run} has logged the epochs {numbers}")
        if kind == "final":
            scores = {name: value for name, value in result["metrics"].items() if name.startswith("test/")}
            key = json.loads((path.parent / "spec.json").read_text())["key"]
            if not expected.same_scores(scene, key, scores):
                found.table = False
                found.words.append(f"{run} has other scores than the same configuration and seed elsewhere")
    for kind, planned in (("trial", CELLS * TRIALS), ("final", CELLS * SEEDS)):
        if ended[kind] < planned:
            found.add("lost", f"{ended[kind]} of {planned} {kind}s have ended", planned - ended[kind])
        if ended[kind] > planned:
            found.add("doubled", f"{ended[kind]} {kind}s, {planned} planned", ended[kind] - planned)


def _mlflow(scene: Scene, found: Findings) -> None:
    """One run a trial and a final, with all its epochs, and closed."""
    with sqlite3.connect(scene.store) as store:
        runs = store.execute(
            "select t.value, r.run_uuid, r.status from runs r join tags t on t.run_uuid = r.run_uuid "
            "where t.key = 'hsray.key' and r.lifecycle_stage = 'active'"
        ).fetchall()
        epochs = store.execute(
            "select run_uuid, count(distinct step) from metrics where key = 'train/loss' group by 1"
        ).fetchall()
    logged, statuses = dict(epochs), Counter(key for key, _, _ in runs)
    folders = {json.loads((path.parent / "spec.json").read_text())["key"]: path.parent for path in scene.results()}
    for key, count in statuses.items():
        if count > 1:
            found.add("doubled", f"{count} MLflow runs of {key}", count - 1)
    for key, run, status in runs:
        if status != "FINISHED" or key not in folders:
            found.add(
                "orphaned", f"the MLflow run of {key} is {status}" + ("" if key in folders else ", has no folder")
            )
        elif logged.get(run, 0) != (count := len(read_epochs(folders[key]))):
            found.add("epochs_lost", f"{logged.get(run, 0)} epochs of {key} are in MLflow, {count} in its log")
    for key in folders.keys() - statuses.keys():
        found.add("lost", f"no MLflow run of {key}")


def _ledger(scene: Scene, found: Findings) -> None:
    with sqlite3.connect(scene.sweep / "ledger.db") as ledger:
        studies = ledger.execute(
            "select s.study_name, t.state from studies s left join trials t on t.study_id = s.study_id"
        ).fetchall()
    for study in sorted({study for study, _ in studies}):
        states = Counter(state for name, state in studies if name == study and state is not None)
        if states.total() < TRIALS:
            found.add("lost", f"{states.total()} of {TRIALS} trials in the study {study}", TRIALS - states.total())
        if states.total() > TRIALS:
            found.add("doubled", f"{states.total()} trials in the study {study}", states.total() - TRIALS)
        if still := states["RUNNING"] + states["WAITING"]:
            found.add("orphaned", f"{still} trials of {study} are still open in the ledger", still)
