"""The mirror as it is asked: lazy frames over what the last sync left."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path

import polars as pl

from hsray.errors import HsrayError, RequestError
from hsray.leaderboard.mirror.address import Address
from hsray.leaderboard.mirror.artifacts import fetch
from hsray.leaderboard.mirror.files import ARTIFACTS, PARTS, fault
from hsray.leaderboard.mirror.manifest import File, Manifest, Source, read_manifest
from hsray.leaderboard.mirror.parts import KEPT, RUNS, long_frame
from hsray.leaderboard.mirror.store import ENDED, schema
from hsray.leaderboard.runs import REPORT_KIND

SOURCES = {"source": pl.String, "way": pl.String, "experiment_id": pl.String, "experiment": pl.String}


class Mirror:
    """What a folder's last sync left when this was made; a later sync is seen by a new one.

    Frames are lazy and stay readable for a minute after a sync has replaced their files. `offline`: artefacts that are
    not kept are not fetched. `uri`: the addresses, with user and password, of sources that artefacts are fetched from,
    where the environment does not have them.

    Raises:
        RequestError: there is no mirror, or one of another format.
    """

    def __init__(self, folder: Path, offline: bool = False, uri: str | Sequence[str] = ()) -> None:
        self.folder, self.offline = folder, offline
        self._uris = {Address.of(one).id: one for one in ([uri] if isinstance(uri, str) else uri)}
        found = read_manifest(folder)
        if found is None:
            raise RequestError("there is no mirror", where=str(folder), do="sync it first: leave --no-sync out")
        self.manifest: Manifest = found
        self._checked: set[str] = set()

    def runs(self) -> pl.LazyFrame:
        """A row for every run that MLflow has not deleted, oldest first within a source; a sweep's report is none.

        The columns of `hsray.leaderboard.runs.SCHEMA` (scores as fractions of one), source, experiment_id and ended_ms.

        Raises (this and the others):
            HsrayError: a file of the mirror is damaged or missing.
        """
        return self._runs().filter(pl.col("kind").ne_missing(REPORT_KIND)).select(list(RUNS))

    def metrics(self) -> pl.LazyFrame:
        """The last value of every metric of every run: source, run_id, key, value."""
        return self._long("metrics")

    def params(self) -> pl.LazyFrame:
        """The parameters of every run: source, run_id, key, value (text)."""
        return self._long("params")

    def tags(self) -> pl.LazyFrame:
        """The tags of every run, MLflow's own too: source, run_id, key, value (text)."""
        return self._long("tags")

    def sources(self) -> pl.DataFrame:
        """A row for every experiment that is mirrored: source, way, experiment_id, experiment, runs, synced (UTC)."""
        counts = self.runs().group_by("source", "experiment_id").agg(pl.len().cast(pl.Int64).alias("runs")).collect()
        rows = [
            (source.address, source.way, id, experiment["name"], datetime.fromtimestamp(source.synced_ms / 1000, UTC))
            for source in self.manifest.sources.values()
            for id, experiment in source.experiments.items()
        ]
        frame = pl.DataFrame(rows, schema={**SOURCES, "synced": pl.Datetime("ms", "UTC")}, orient="row")
        frame = frame.join(counts, on=["source", "experiment_id"], how="left").with_columns(pl.col("runs").fill_null(0))
        return frame.select(*SOURCES, "runs", "synced").sort("source", "experiment")

    def artifact(self, run_id: str, name: str) -> Path | None:
        """A copy of a run's artefact (`confusion.npz`, `plots/curve.png`), kept below the mirror from then on.

        None where the run has none of that name, has not ended, or, `offline`, where the mirror has no copy.

        Raises:
            RequestError: the mirror has no such run, the name leaves the folder, or MLflow does not answer.
        """
        if not re.fullmatch(r"[\w.-]+(/[\w.-]+)*", name) or any(set(part) == {"."} for part in name.split("/")):
            raise RequestError(f"this is no artefact's name: {name!r}")
        found = self._places.filter(pl.col("run_id") == run_id)
        if found.is_empty() or not re.fullmatch(r"\w+", run_id):
            raise RequestError(f"the mirror has no run {run_id!r}", where=str(self.folder), do="sync it")
        for source, status, place in found.drop("run_id").iter_rows():
            if status not in ENDED:
                continue
            address = Address.of(source)
            kept = self.folder / ARTIFACTS
            path = kept / address.id / run_id / name
            if path.is_file() or (
                not self.offline and fetch(place, name, path, kept, self._uris.get(address.id, source))
            ):
                return path
        return None

    @cached_property
    def _places(self) -> pl.DataFrame:
        return self._runs().select("run_id", "source", "status", "artifact_uri").collect()

    def _runs(self) -> pl.LazyFrame:
        frames = [self._runs_of(source) for source in self.manifest.sources.values() if source.runs]
        return pl.concat(frames) if frames else pl.LazyFrame(schema=KEPT)

    def _runs_of(self, source: Source) -> pl.LazyFrame:
        assert source.runs is not None
        return pl.scan_parquet(self._sound(source.runs))

    def _long(self, table: str) -> pl.LazyFrame:
        frames = []
        for source in self.manifest.sources.values():
            for part in source.parts:
                self._sound(part.files[table])
                frame = long_frame(self.folder, part, table, self._runs_of(source))
                frames.append(frame.select(pl.lit(source.address).alias("source"), *schema(table)))
        return pl.concat(frames) if frames else pl.LazyFrame(schema={"source": pl.String, **schema(table)})

    def _sound(self, file: File) -> Path:
        """The path of a file whose content is what was written."""
        if file.name not in self._checked:
            if found := fault(self.folder, file):
                now = read_manifest(self.folder)
                if now is None or file.name not in now.names():
                    raise HsrayError("the mirror was synced meanwhile", where=str(self.folder), do="ask again")
                raise HsrayError(
                    f"the mirror is damaged: {found}",
                    where=str(self.folder / PARTS),
                    do="sync it, which reads anew what is lost: leave --no-sync out",
                )
            self._checked.add(file.name)
        return self.folder / PARTS / file.name
