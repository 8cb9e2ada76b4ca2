"""Whatever happens in MLflow between two syncs, the incremental one gives what a new mirror would hold."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from hypothesis import given, settings
from hypothesis import strategies as st
from mlflow import MlflowClient

from hsray.leaderboard.mirror import sync
from hsray.tracking.client import open_client
from tests.leaderboard.oddstore import SCORES, Store
from tests.leaderboard.test_mirror import assert_same, content
from tests.tracking.conftest import empty_store

__all__ = ["empty_store"]
STEPS = ["create", "start", "log", "end", "reopen", "delete", "restore", "rename", "supersede", "count again", "sync"]
WHOLE = ["rename experiment", "delete experiment", "restore experiment"]


class Play:
    """A store to which things happen. What cannot happen to a run as it is does not."""

    def __init__(self, client: MlflowClient) -> None:
        self.client, self.stores = client, [Store(client, "one"), Store(client, "two")]
        self.runs: dict[str, str] = {}  # running, ended or deleted
        self.absent: set[str] = set()  # experiments
        self.clock = 0

    def step(self, what: str, which: int) -> None:
        store = self.stores[which % 2]
        if what.endswith("experiment"):
            self._experiment(what.removesuffix(" experiment"), store)
        elif what in ("create", "start"):
            if store.id not in self.absent:
                run_id = store.run("FINISHED" if what == "create" else None, SCORES, kind="final")
                self.runs[run_id] = "ended" if what == "create" else "running"
        elif self.runs and not self.absent:
            run_id = list(self.runs)[which % len(self.runs)]
            self._run(what, run_id, self.runs[run_id])

    def _run(self, what: str, run_id: str, state: str) -> None:
        self.clock += 1
        if what == "restore" and state == "deleted":
            self.client.restore_run(run_id)
            self.runs[run_id] = "ended" if self.client.get_run(run_id).info.end_time else "running"
        elif state == "deleted" or what == "restore":
            return
        elif what == "delete":
            self.client.delete_run(run_id)
            self.runs[run_id] = "deleted"
        elif what == "rename":
            self.client.update_run(run_id, name=f"name {self.clock}")
        elif what == "supersede":
            self.client.set_tag(run_id, "hsray.superseded", "true")
        elif what == "count again":
            if "hsray.superseded" in self.client.get_run(run_id).data.tags:
                self.client.delete_tag(run_id, "hsray.superseded")
        elif what == "reopen" and state == "ended":
            self.client.update_run(run_id, status="RUNNING")
            self.runs[run_id] = "running"
        elif what == "log" and state == "running":
            self.client.log_metric(run_id, "test/f1_macro", self.clock / 7, step=self.clock)
        elif what == "end" and state == "running":
            self.client.set_terminated(run_id, "KILLED", 1_760_000_100_000 + self.clock)
            self.runs[run_id] = "ended"

    def _experiment(self, what: str, store: Store) -> None:
        self.clock += 1
        if what == "restore" and store.id in self.absent:
            self.client.restore_experiment(store.id)
            self.absent.remove(store.id)
            for run_id, state in self.runs.items():  # all its runs, those too that were deleted before
                if state == "deleted" and self.client.get_run(run_id).info.lifecycle_stage == "active":
                    self.runs[run_id] = "ended" if self.client.get_run(run_id).info.end_time else "running"
        elif what == "delete" and store.id not in self.absent:
            self.client.delete_experiment(store.id)
            self.absent.add(store.id)
        elif what == "rename" and store.id not in self.absent:
            self.client.rename_experiment(store.id, f"experiment {self.clock}")


steps = st.lists(st.tuples(st.sampled_from([*STEPS, *WHOLE]), st.integers(0, 5)), min_size=4, max_size=14)


@settings(max_examples=6, deadline=None, derandomize=True)
@given(steps)
def test_incremental_equals_new(empty_store: Path, happens: list[tuple[str, int]]) -> None:
    with tempfile.TemporaryDirectory() as name:
        uri = f"sqlite:///{shutil.copy(empty_store, Path(name) / 'mlflow.db')}"
        play, folder = Play(open_client(uri)), Path(name) / "mirror"
        for what, which in [("create", 0), ("start", 1), ("sync", 0), *happens]:
            if what == "sync":
                sync(folder, uri)
            else:
                play.step(what, which)
        sync(folder, uri)
        sync(Path(name) / "new", uri)
        found = content(folder)
        assert_same(found, content(Path(name) / "new"))
        alive = {run_id for run_id, state in play.runs.items() if state != "deleted"}
        if not play.absent:
            assert set(found["runs"]["run_id"]) == alive
        sync(folder, uri, full=True)
        assert_same(content(folder), found)
