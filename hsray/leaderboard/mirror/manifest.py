"""What a mirror holds, as its `mirror.json` says: the one file that makes all others count."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from hsray.errors import RequestError

FORMAT = 1
NAME = "mirror.json"
A_COPY = "it is a copy of what MLflow holds: move it away, or name another folder with --mirror"


@dataclass(frozen=True)
class File:
    """A Parquet file of the mirror, by its name in the folder `parts`."""

    name: str
    bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True)
class Part:
    """The metrics, parameters and tags of `runs` runs that were read together; `current` of these still count."""

    number: int
    files: dict[str, File]
    runs: int
    current: int


@dataclass
class Source:
    """`experiments`: name and cursors (`started_ms`, `ended_ms`: the newest that was seen) by MLflow's id."""

    address: str
    way: str
    synced_ms: int = 0
    experiments: dict[str, dict[str, Any]] = field(default_factory=dict)
    runs: File | None = None
    parts: list[Part] = field(default_factory=list)

    def files(self) -> list[File]:
        return [*([self.runs] if self.runs else []), *(file for part in self.parts for file in part.files.values())]


@dataclass
class Manifest:
    """`number` of the last part. `retired`: when files ceased to count that somebody may still read."""

    sources: dict[str, Source] = field(default_factory=dict)
    number: int = 0
    retired: dict[str, int] = field(default_factory=dict)

    def names(self) -> set[str]:
        return {file.name for source in self.sources.values() for file in source.files()}

    def write(self, folder: Path) -> None:
        """Replace the one that is there, at one instant."""
        partial = folder / f"{NAME}.partial"
        with partial.open("w") as file:
            json.dump({"format": FORMAT, **asdict(self)}, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(folder / NAME)


def read_manifest(folder: Path) -> Manifest | None:
    """None where there is no mirror yet.

    Raises:
        RequestError: it is of another format, or damaged.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_bytes())
        version = content["format"]
        if version == FORMAT:
            sources = {key: _source(source) for key, source in content["sources"].items()}
            return Manifest(sources, int(content["number"]), dict(content["retired"]))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise RequestError(f"the mirror cannot be read: {error.strerror}", where=str(path)) from None
    except (ValueError, KeyError, TypeError, AttributeError):
        raise RequestError(
            "this is no mirror's table of contents, or it is damaged", where=str(path), do=A_COPY
        ) from None
    raise RequestError(f"the mirror is of format {version!r}; this hsray reads {FORMAT}", where=str(path), do=A_COPY)


def _source(content: dict[str, Any]) -> Source:
    parts = [_part(part) for part in content["parts"]]
    runs = File(**content["runs"]) if content["runs"] else None
    return Source(**{**content, "runs": runs, "parts": parts})


def _part(content: dict[str, Any]) -> Part:
    return Part(**{**content, "files": {table: File(**file) for table, file in content["files"].items()}})
