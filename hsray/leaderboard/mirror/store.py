"""What a sync asks of a store, whichever way it is read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import polars as pl

TABLES = ("metrics", "params", "tags")
ENDED = ("FINISHED", "FAILED", "KILLED")


def schema(table: str) -> dict[str, Any]:
    """The columns of a long table."""
    return {"run_id": pl.String, "key": pl.String, "value": pl.Float64 if table == "metrics" else pl.String}


@dataclass
class Changes:
    """`experiments`: the names by id of all that are not deleted, `selected` the ids of those that were looked at.

    `listed`: a row for every run that was read again (the columns of LISTED), whose values are in `tables`.
    `gone`: the ids of runs of the mirror that MLflow does not hold any more, or not there.
    """

    experiments: dict[str, str]
    selected: list[str]
    listed: pl.DataFrame
    tables: dict[str, pl.DataFrame]
    gone: pl.Series
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Wanted:
    """Which runs a sync is about: of experiments by name (all where none is given) or id; all or what has changed."""

    names: tuple[str, ...] = ()
    ids: frozenset[str] = frozenset()
    full: bool = False

    def select(self, experiments: dict[str, str]) -> list[str]:
        """The ids of those of `experiments` (names by ids) that are meant."""
        return [id for id, name in experiments.items() if not self.names or name in self.names or id in self.ids]
