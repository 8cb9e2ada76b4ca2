"""What `hsray leaderboard` was asked for, and whether that can be done."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hsray.errors import RequestError

SUFFIXES = {
    ".txt": "table", ".json": "json", ".csv": "csv", ".parquet": "parquet", ".md": "markdown", ".tex": "latex",
    ".html": "html",
}  # fmt: skip


@dataclass(frozen=True)
class Asked:
    """What the command line asked for."""

    experiments: Sequence[str]
    uris: Sequence[str]
    mirror: Path
    sync: bool
    full: bool
    where: Sequence[str]
    group_by: Sequence[str]
    sort: str | None
    pivot: str | None
    metric: str
    interval: Literal["seeds", "images", "both"]
    query: str | None
    compare: tuple[str, str] | None
    curve: bool
    cost: bool
    importance: bool
    overall: bool
    published: bool
    picture: Path | None
    format: str | None
    out: Path | None
    overwrite: bool

    @property
    def of_runs(self) -> bool:
        """Something else than the board and SQL."""
        return bool(self.compare or self.curve or self.cost or self.importance or self.overall)


def checked_format(asked: Asked) -> str:
    """The format. Raises RequestError for what cannot be done, before anything is."""
    if asked.query is not None and (asked.of_runs or asked.experiments or asked.where or asked.published):
        raise RequestError(
            "a query asks the whole mirror, so nothing else goes with it",
            where="--query",
            do="say it in the query: SELECT … FROM runs WHERE experiment = '…'",
        )
    if asked.picture is not None and (len(asked.experiments) != 1 or len(asked.uris) != 1):
        raise RequestError("a picture is of one experiment", where="--picture", do="name one experiment, one server")
    format = asked.format or "table"
    if asked.out is not None:
        suffix = asked.out.suffix.lower()
        if asked.format is None and suffix not in SUFFIXES:
            raise RequestError(
                f"'{asked.out.name}' does not say the format",
                where="--out",
                do=f"end it in {', '.join(SUFFIXES)}, or give --format",
            )
        format = asked.format or SUFFIXES[suffix]
        if asked.out.exists() and not (asked.overwrite and asked.out.is_file()):
            raise RequestError("the file is there already", where=str(asked.out), do="give --overwrite or another name")
        if not asked.out.parent.is_dir():
            raise RequestError("there is no such folder", where=str(asked.out.parent), do="make it first")
    elif format == "parquet" and sys.stdout.isatty():
        raise RequestError("Parquet is nothing to read on a terminal", where="--format", do="give --out FILE.parquet")
    return format
