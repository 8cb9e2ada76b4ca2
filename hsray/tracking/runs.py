"""The runs of one MLflow experiment by their keys: one run a key."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from hsray.errors import HsrayError
from hsray.tracking.client import all_runs
from hsray.tracking.delivery import Known, deliver
from hsray.tracking.owner import Owner
from hsray.tracking.runfolder import RunRecord, run_folders, run_key

if TYPE_CHECKING:
    from mlflow import MlflowClient


class ExperimentRuns:
    """What MLflow knows of an experiment, read once; the experiment is made where it is not there.

    Raises (every method):
        MlflowException, SQLAlchemyError, OSError: MLflow is away. What took place is then unknown: read it all again.
    """

    def __init__(self, client: MlflowClient, uri: str, experiment: str) -> None:
        self.client = client
        found = client.get_experiment_by_name(experiment)
        self.id = found.experiment_id if found else client.create_experiment(experiment, _artifacts(uri, experiment))
        self.owner = Owner.named_by(found)
        self.by_key: dict[str, Known] = {}
        for run in all_runs(client, self.id):
            key = run.data.tags.get("hsray.key")
            if key in self.by_key:
                client.delete_run(run.info.run_id)  # a creation whose answer was lost; the older one is kept
            elif key is not None:
                self.by_key[key] = Known.of(run)

    def up_to_date(self, record: RunRecord) -> bool:
        """Whether there is nothing to deliver."""
        known = self.by_key.get(record.key)
        return known is not None and known.up_to_date(record)

    def deliver(self, record: RunRecord) -> None:
        self.by_key[record.key] = deliver(self.client, self.id, record, self.by_key.get(record.key))

    def kill(self, keys: Iterable[str]) -> None:
        """Close as KILLED those of the runs that are open."""
        for known in [self.by_key[key] for key in keys if key in self.by_key]:
            if known.status == "RUNNING":
                known.status, known.end_ms = "KILLED", int(time.time() * 1000)
                self.client.set_terminated(known.run_id, known.status, known.end_ms)

    def take_over(self, sweep_dir: Path, owner: Owner) -> None:
        """Tag the experiment as that of a sweep's folder, and close the open runs that have no folder there.

        Where another folder's sweep was started at the same time its runs stay as they are.
        """
        keys = set()
        for folder in run_folders(sweep_dir):
            try:
                keys.add(run_key(folder))
            except HsrayError:
                continue  # named when it is delivered
        orphans = self.by_key.keys() - keys
        if owner.is_other_than(self.owner) and any(self.by_key[key].status == "RUNNING" for key in orphans):
            return
        if owner != self.owner:
            owner.tag(self.client, self.id)
            self.owner = owner
        self.kill(orphans)

    def supersede(self, current_keys_by_cell: Mapping[str, set[str]]) -> None:
        """Tag what does not count, untag what does: of these cells the finals, under any definition, that are not
        current, and the trials of the same definition's other attempts (`hsray redo`).
        """
        names = {_name(cell) for cell in current_keys_by_cell}
        definitions = {_definition(cell) for cell in current_keys_by_cell}
        for key, known in self.by_key.items():
            if known.kind == "final" and _name(known.cell) in names:
                superseded = key not in current_keys_by_cell.get(known.cell, ())
            elif known.kind == "trial" and _definition(known.cell) in definitions:
                superseded = known.cell not in current_keys_by_cell
            else:
                continue
            if superseded and not known.superseded:
                self.client.set_tag(known.run_id, "hsray.superseded", "true")
            elif known.superseded and not superseded:
                self.client.delete_tag(known.run_id, "hsray.superseded")
            known.superseded = superseded


def _name(cell: str) -> str:
    """A cell's axis values without the hash of its definition."""
    return cell.rsplit("@", 1)[0]


def _definition(cell: str) -> str:
    """A cell without the number of its attempt."""
    return re.sub(r"~\d+$", "", cell)


def _artifacts(uri: str, experiment: str) -> str | None:
    """Beside a store in a file, wherever the command was started; a server knows its own place."""
    if not uri.startswith("sqlite:///"):
        return None
    folder = Path(uri.removeprefix("sqlite:///").split("?")[0]).resolve().parent
    return (folder / "mlruns" / quote(experiment, safe="")).as_uri()
