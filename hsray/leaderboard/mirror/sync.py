"""A sync: make the mirror of a source equal to what MLflow holds, by reading what has changed."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import polars as pl

from hsray.errors import RequestError
from hsray.leaderboard.mirror.address import Address
from hsray.leaderboard.mirror.files import locked, retire
from hsray.leaderboard.mirror.manifest import Manifest, Source
from hsray.leaderboard.mirror.parts import compact, current_runs, store_changes
from hsray.leaderboard.mirror.store import Changes, Wanted
from hsray.leaderboard.runs import no_experiment

SLOWER = "read by MLflow's client, which is slower"
Way = Literal["direct", "client"]


@dataclass(frozen=True)
class Synced:
    """`read`: runs that were read, `removed`: runs that MLflow holds no more. `source`: as in the column `source`."""

    source: str
    way: Way
    read: int
    removed: int
    notes: list[str] = field(default_factory=list)


def sync(
    folder: Path, uri: str, experiments: Sequence[str] = (), *, full: bool = False, lacking_ok: bool = False
) -> Synced:
    """Bring the mirror in `folder` up to what the MLflow at `uri` holds of these experiments, all where none is named.

    SQLite and PostgreSQL are read directly where their schema is known, everything else by MLflow's client. `full`
    reads every run again. Nothing is written to MLflow. A sync killed at any instant leaves the former mirror or the
    new one. With `lacking_ok`, as one of several sources, an experiment that is not there is noted and not refused.

    Raises:
        RequestError: MLflow does not answer or lacks an experiment; the folder holds something else than a mirror.
        HsrayError: the mirror cannot be written.
    """
    address, names = Address.of(uri), list(experiments)
    with locked(folder) as manifest:
        before = manifest.sources.get(address.id) or Source(address.name, "")
        known, notes = current_runs(folder, before)
        # What is damaged is read anew whatever was asked for.
        held = frozenset(before.experiments) if notes else frozenset()
        way, changes = _read(address, known, Wanted(tuple(names), held, full))
        there = sorted(set(changes.experiments.values()))
        missing = [name for name in names if name not in there]
        if missing and not lacking_ok:
            raise no_experiment(missing[0], there, uri)
        notes += [f"{address.name} has no experiment '{name}'" for name in missing]
        source = store_changes(folder, manifest, address, before, known, changes)
        source.way, source.synced_ms = way, int(time.time() * 1000)
        compact(folder, manifest, address, source)
        manifest.sources[address.id] = source
        retire(manifest, before.files())
        manifest.write(folder)
    notes += [*changes.notes, *_namesakes(manifest, address, names)]
    return Synced(address.name, way, len(changes.listed), len(changes.gone), notes)


def _read(address: Address, known: pl.DataFrame, wanted: Wanted) -> tuple[Way, Changes]:
    notes = []
    if address.sqlite or address.postgres:
        from hsray.leaderboard.mirror import databases, direct

        if address.postgres and not databases.has_psycopg():
            notes = [f"{SLOWER}: psycopg is not installed (pip install 'hsray[postgres]')"]
        else:
            with databases.open_database(address) as database:
                try:
                    if not database.has_table("alembic_version"):
                        raise RequestError("this database is no MLflow store", where=address.name)
                    obstacle = direct.obstacle(database)
                    if obstacle is None:
                        return "direct", direct.changes(database, known, wanted)
                except database.error as error:
                    raise databases.unreadable(error, address) from None
            notes = [f"{SLOWER}: {obstacle}"]
    from hsray.leaderboard.mirror import served

    changes = served.read_changes(address, known, wanted)
    changes.notes = notes + changes.notes
    return "client", changes


def _namesakes(manifest: Manifest, address: Address, names: list[str]) -> list[str]:
    """Which experiments that were asked for other sources hold too."""
    notes = []
    for name in names:
        others = [
            source.address
            for id, source in manifest.sources.items()
            if id != address.id and any(one["name"] == name for one in source.experiments.values())
        ]
        if others:
            also = f"an experiment '{name}' is also mirrored from {', '.join(others)}"
            notes.append(f"{also}; the column source tells them apart")
    return notes
