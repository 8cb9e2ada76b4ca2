"""A store of MLflow's with runs of every kind, sound and not."""

from __future__ import annotations

import json

from mlflow import MlflowClient
from mlflow.entities import Metric, Param, RunTag

from hsray.scores import METRICS

SCORES = {f"test/{name}": 0.5 for name in METRICS}
AXES = {"dataset": "ip", "strategy": "runet", "fraction": 0.1}


class Store:
    """Runs of one experiment, by MLflow's own client, a millisecond apart."""

    def __init__(self, client: MlflowClient, name: str = "demo") -> None:
        self.client, self.id, self.clock = client, client.create_experiment(name), 1_760_000_000_000

    def run(
        self,
        status: str | None = "FINISHED",
        metrics: dict[str, float] | None = None,
        name: str | None = None,
        **tags: str | None,
    ) -> str:
        """One run, running where there is no status; a tag that is None is left out. Its id."""
        self.clock += 1
        usual = {"kind": "trial", "cell": "dataset=ip@1a", "dataset": "ip", "strategy": "runet", "family": "in-domain"}
        all_tags = {**usual, "seed": "0", "axes": json.dumps(AXES), "task": "segmentation", "state": "complete"} | tags
        named = {f"hsray.{key}": text for key, text in all_tags.items() if text is not None}
        run_id = self.client.create_run(self.id, self.clock, named, name).info.run_id
        points = [Metric(key, value, self.clock, 0) for key, value in (metrics or {}).items()]
        self.client.log_batch(run_id, points, [Param("lr", "0.1"), Param("note", "a,\n“b”")], [RunTag("empty", "")])
        if status:
            self.client.set_terminated(run_id, status, self.clock + 10)
        return run_id


def fill(store: Store) -> dict[str, str]:
    """Runs of every kind; the ids of some by what they are."""
    nan, inf = float("nan"), float("inf")
    ids = {
        "complete": store.run(metrics=SCORES, kind="final", seed="7"),
        "pruned": store.run(state="pruned", metrics={"val/jaccard_macro": 0.25}),
        "failed": store.run("FAILED", state="failed", reason="loss is not finite"),
        "killed": store.run("KILLED", state=None),
        "running": store.run(None, state=None, metrics={"val/jaccard_macro": 0.1}),
        "superseded": store.run(metrics=SCORES, kind="final", superseded="true", contaminated="yes", name="old one"),
        "no tags": store.run(cell=None, family="", axes=None),
        "nan": store.run(metrics=SCORES | {"test/f1_macro": nan}, kind="final"),
        "infinite": store.run(metrics=SCORES | {"test/f1_macro": inf, "cost/device_seconds": -inf}, kind="final"),
        "no metrics": store.run(kind="final", metrics={"test/f1_macro": 0.5}),
        "seed": store.run(seed="--5"),
        "axes": store.run(axes="{"),
        "list": store.run(axes="[1]"),
        "deep": store.run(axes="[" * 3000),
        "no dataset": store.run(axes="{}"),
        "fraction": store.run(axes='{"dataset": "ip", "fraction": "half"}'),
        "kind": store.run(kind="finale"),
        "no state": store.run(state=None),
        "cell": store.run(cell="a@b@c"),
        "deleted": store.run(),
    }
    store.client.delete_run(ids["deleted"])
    return ids
