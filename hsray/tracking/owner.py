"""Whose an MLflow experiment is: sweeps of one name in different folders must not take each other's runs for theirs."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Experiment

ID, AT = "hsray.home", "hsray.home_at"


@dataclass(frozen=True)
class Owner:
    """A sweep's folder: its id (None: it has none yet), which moves with it, and where it lies: `host:path`, or the
    address of a store.
    """

    id: str | None
    at: str

    @classmethod
    def named_by(cls, experiment: Experiment | None) -> Owner | None:
        """The one that an experiment is tagged with; None where it is nobody's yet."""
        if experiment is None or ID not in experiment.tags:
            return None
        return cls(experiment.tags[ID], experiment.tags.get(AT, "an unknown place"))

    def is_other_than(self, named: Owner | None) -> bool:
        """Whether the experiment is another folder's. One that lay in this very place is gone: it was replaced."""
        return named is not None and named.id != self.id and named.at != self.at

    def tag(self, client: MlflowClient, experiment_id: str) -> None:
        assert self.id is not None
        client.set_experiment_tag(experiment_id, AT, self.at)  # first: alone it still names one that may go on here
        client.set_experiment_tag(experiment_id, ID, self.id)


def place_of(folder: Path) -> str:
    return f"{socket.gethostname()}:{folder.resolve()}"
