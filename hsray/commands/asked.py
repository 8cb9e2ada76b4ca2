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
OF_RUNS = ("compare", "curve", "cost", "importance", "overall")
METRIC = "jaccard_macro"  # what is ranked where nothing is said


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
    def of_runs(self) -> list[str]:
        """The options that ask for something else than the board and SQL."""
        return [f"--{name}" for name in OF_RUNS if getattr(self, name)]

    @property
    def of_board(self) -> list[str]:
        """The options given that say what the board shows."""
        given = {
            "--against": self.published, "--interval": self.interval != "seeds", "--group-by": bool(self.group_by),
            "--sort": self.sort is not None, "--pivot": self.pivot is not None,
        }  # fmt: skip
        return [name for name, is_given in given.items() if is_given]


def checked_format(asked: Asked) -> str:
    """The format. Raises RequestError for what cannot be done, before anything is."""
    _check_together(asked)
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


def _check_together(asked: Asked) -> None:
    """Raises RequestError: an option would be ignored beside another."""
    if asked.full and not asked.sync:
        raise RequestError("--full is how to sync, and --no-sync not to", where="--full", do="leave one of them out")
    metric = ["--metric"] if asked.metric != METRIC else []
    others = [*asked.of_runs, *asked.of_board, *metric]
    if asked.query is not None and (others or asked.experiments or asked.where):
        raise RequestError(
            "a query asks the whole mirror, so nothing else goes with it",
            where=f"--query with {', '.join(others) or 'experiments or --where'}",
            do="say it in the query: SELECT … FROM runs WHERE experiment = '…'",
        )
    if asked.of_runs and asked.of_board:
        raise RequestError(
            f"{', '.join(asked.of_board)} is about the board of scores, which is not shown",
            where=", ".join(asked.of_runs),
            do="leave it out, or ask for the board by itself",
        )
    if metric and asked.of_runs == ["--importance"]:
        raise RequestError(
            "importance is about the validation Jaccard, which trials are searched by", where="--metric",
            do="leave it out",
        )  # fmt: skip
    if asked.published and asked.pivot is not None:
        raise RequestError(
            "a pivot has no room for published scores", where="--pivot with --against",
            do="ask for one after the other; --group-by and --sort go with --against",
        )  # fmt: skip
