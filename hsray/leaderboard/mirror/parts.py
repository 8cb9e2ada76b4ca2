"""How a source lies in the mirror: one wide file of its runs, and parts of long tables, of which a run's last counts.

The wide file is small and written anew by every sync that changes something; its `part` says where a run's values are.
A run that was read again or deleted leaves dead rows in older parts, which go when parts are put together.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from hsray.leaderboard.mirror.address import Address
from hsray.leaderboard.mirror.files import PARTS, fault, part_name, write_part
from hsray.leaderboard.mirror.manifest import File, Manifest, Part, Source
from hsray.leaderboard.mirror.store import TABLES, Changes, schema
from hsray.leaderboard.runs import LISTED, SCHEMA, wide

# What `Mirror.runs` gives, and what the file has besides.
RUNS: dict[str, Any] = {**SCHEMA, "source": pl.String, "experiment_id": pl.String, "ended_ms": pl.Int64}
KEPT: dict[str, Any] = {**RUNS, **LISTED, "part": pl.Int64}
MOST_PARTS = 16
DEAD_SHARE = 0.3  # of a part's runs, from which on it is worth to write it anew


def current_runs(folder: Path, source: Source) -> tuple[pl.DataFrame, list[str]]:
    """The runs of the mirror (KEPT), and notes on files that are damaged. Runs whose values are lost have no status."""
    if source.runs is None:
        return pl.DataFrame(schema=KEPT), []
    if found := fault(folder, source.runs):
        return pl.DataFrame(schema=KEPT), [f"the mirror was damaged and is read anew: {found}"]
    notes, lost = [], []
    for part in source.parts:
        faults = [found for file in part.files.values() if (found := fault(folder, file))]
        if faults:
            lost.append(part.number)
            notes.append(f"the mirror was damaged; the runs concerned are read anew: {', '.join(faults)}")
    runs = pl.read_parquet(folder / PARTS / source.runs.name)
    status = pl.when(~pl.col("part").is_in(lost)).then(pl.col("status"))
    return runs.with_columns(status.alias("status")), notes


def store_changes(
    folder: Path, manifest: Manifest, address: Address, before: Source, known: pl.DataFrame, changes: Changes
) -> Source:
    """Write what has changed as new files; gives the source as it is then."""
    runs = known.filter(~pl.col("run_id").is_in(pl.concat([changes.gone, changes.listed["run_id"]]).implode()))
    parts = list(before.parts)
    if len(changes.listed):
        manifest.number += 1
        number = manifest.number
        files = {table: _write(folder, address, number, table, changes.tables[table]) for table in TABLES}
        parts.append(Part(number, files, len(changes.listed), len(changes.listed)))
        new = wide(changes.listed, changes.tables["metrics"], changes.tables["tags"])
        new = new.with_columns(part=pl.lit(number, pl.Int64))
        runs = pl.concat([runs, new], how="diagonal")
    names = pl.col("experiment_id").replace_strict(changes.experiments, default=None, return_dtype=pl.String)
    runs = runs.with_columns(source=pl.lit(address.name), experiment=names).select(list(KEPT))
    runs = runs.sort("started_ms", "run_id", nulls_last=True)
    experiments = _experiments(before, changes, runs)
    if before.runs is not None and runs.equals(known):
        return Source(address.name, before.way, before.synced_ms, experiments, before.runs, before.parts)
    source = Source(address.name, before.way, before.synced_ms, experiments, None, parts)
    _write_runs(folder, manifest, address, source, runs)
    return source


def compact(folder: Path, manifest: Manifest, address: Address, source: Source) -> None:
    """Put parts together where there are too many; a big one stays as it is while most of it counts."""
    if len(source.parts) <= MOST_PARTS:
        return
    biggest = max(source.parts, key=lambda part: part.current)
    stays = biggest.current >= (1 - DEAD_SHARE) * biggest.runs
    merged = [part for part in source.parts if part is not biggest or not stays]
    assert source.runs is not None
    runs = pl.read_parquet(folder / PARTS / source.runs.name)
    manifest.number += 1
    number = manifest.number
    files = {}
    for table in TABLES:
        frames = [long_frame(folder, part, table, runs.lazy()).collect() for part in merged]
        files[table] = _write(folder, address, number, table, pl.concat(frames))
    numbers = [part.number for part in merged]
    of_merged = pl.col("part").is_in(numbers)
    runs = runs.with_columns(part=pl.when(of_merged).then(pl.lit(number, pl.Int64)).otherwise(pl.col("part")))
    count = int((runs["part"] == number).sum())
    source.parts = [part for part in source.parts if part not in merged] + [Part(number, files, count, count)]
    _write_runs(folder, manifest, address, source, runs)


def long_frame(folder: Path, part: Part, table: str, runs: pl.LazyFrame) -> pl.LazyFrame:
    """The rows of a part's table (run_id, key, value) that count."""
    frame = pl.scan_parquet(folder / PARTS / part.files[table].name)
    if part.current == part.runs:
        return frame
    mine = runs.filter(pl.col("part") == part.number).select("run_id")
    return frame.join(mine, on="run_id", how="semi")


def _write_runs(folder: Path, manifest: Manifest, address: Address, source: Source, runs: pl.DataFrame) -> None:
    """The wide file; and how much of each part counts, so that parts of which nothing does are left behind."""
    manifest.number += 1
    source.runs = _write(folder, address, manifest.number, "runs", runs)
    counts = dict(runs.group_by("part").len().iter_rows())
    source.parts = [replace(part, current=counts[part.number]) for part in source.parts if part.number in counts]


def _write(folder: Path, address: Address, number: int, table: str, frame: pl.DataFrame) -> File:
    dtypes = KEPT if table == "runs" else schema(table)
    return write_part(folder, part_name(address.id, number, table), frame.select(list(dtypes)))


def _experiments(before: Source, changes: Changes, runs: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Those that were looked at now or before and still exist, with the newest start and end that was seen of each."""
    newest = {
        id: {"started_ms": started, "ended_ms": ended}
        for id, started, ended in runs.group_by("experiment_id")
        .agg(pl.col("started_ms").max(), pl.col("ended_ms").max())
        .iter_rows()
    }
    none = {"started_ms": None, "ended_ms": None}
    return {
        id: {"name": name, **newest.get(id, none)}
        for id, name in changes.experiments.items()
        if id in before.experiments or id in changes.selected
    }
