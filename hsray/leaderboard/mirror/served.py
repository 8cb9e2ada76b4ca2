"""MLflow read by its own client: servers, and stores that cannot be read directly."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

import polars as pl

from hsray.errors import RequestError
from hsray.leaderboard.mirror.address import Address
from hsray.leaderboard.mirror.store import TABLES, Changes, Wanted, schema
from hsray.leaderboard.runs import LISTED

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities import Run

PAGE = 1000
SOME = 200  # runs that are asked for by their ids at a time
READING_S = 120  # patience with a page of runs
OVERLAP_MS = 60_000  # the clocks of those who write runs differ
BETWEEN = 1000  # known runs in a stretch of time that is looked through for others; MLflow reads no longer lists
LOOKED_THROUGH = 10_000  # the newest known runs, half a second
SETTLED = ("FINISHED", "FAILED")  # a run that is KILLED may be taken up again, and end with its true, earlier end
SUPERSEDED = "tags.`hsray.superseded` = 'true'"
UNSEEN = (
    "over MLflow's client, only a full sync (--full) sees runs that were deleted or renamed since, and of those older "
    f"than the newest {LOOKED_THROUGH:,} the ones that were restored or written late"
)
Tables = dict[str, pl.DataFrame]


def read_changes(address: Address, known: pl.DataFrame, wanted: Wanted) -> Changes:
    """What is to be done to a mirror that holds the runs `known` of this source.

    Raises:
        RequestError: MLflow does not answer.
    """
    from hsray.tracking.client import answering, open_client

    try:
        client = open_client(address.uri)
        with answering(address.uri, READING_S):
            return changes(client, known, wanted)
    except ModuleNotFoundError as error:
        raise RequestError(
            f"MLflow's client needs a package that is not installed: {error.name}",
            where=address.name,
            do="install it; for PostgreSQL: pip install 'hsray[postgres]', and write postgresql+psycopg://…",
        ) from None


def experiments_of(client: MlflowClient) -> dict[str, str]:
    """The names by id of those that are not deleted."""
    found: dict[str, str] = {}
    token = None
    while True:
        page = client.search_experiments(max_results=PAGE, page_token=token)
        found |= {experiment.experiment_id: experiment.name for experiment in page}
        token = page.token
        if not token:
            return found


def changes(client: MlflowClient, known: pl.DataFrame, wanted: Wanted) -> Changes:
    """MLflow does not say what has changed. So, unless all are wanted, these are read: runs that began or ended since
    the newest that is known, those that run, those that were running or killed or have no status in `known`, those that
    are or were superseded and were not or are not, and among the newest those that are not known.
    """
    experiments = experiments_of(client)
    selected = wanted.select(experiments)
    read, gone, notes = [_nothing()], [known.filter(~pl.col("experiment_id").is_in(list(experiments)))["run_id"]], []
    for experiment in selected:
        mine = known.filter(pl.col("experiment_id") == experiment)
        if wanted.full or mine.is_empty():
            found = read_runs(client, experiment)
            asked = mine["run_id"]
        else:
            found = _since(client, experiment, mine)
            marked = read_runs(client, experiment, SUPERSEDED)
            unsettled = ~pl.col("status").is_in(SETTLED).fill_null(False)
            counted = pl.col("superseded") & ~pl.col("run_id").is_in(marked[0]["run_id"].implode())
            asked = mine.filter(unsettled | counted)["run_id"]
            seen = mine.filter(~unsettled & pl.col("superseded"))["run_id"]
            found = _unique([found, _without(marked, seen), *_late(client, experiment, mine)])
            again = asked.filter(~asked.is_in(found[0]["run_id"].implode()))
            found = _unique([found, *(read_runs(client, experiment, one) for one in _by_ids(again))])
            notes = [UNSEEN]
        gone.append(asked.filter(~asked.is_in(found[0]["run_id"].implode())))
        read.append(found)
    listed, tables = _unique(read)
    return Changes(experiments, selected, listed, tables, pl.concat(gone), notes)


def read_runs(client: MlflowClient, experiment: str, condition: str = "") -> tuple[pl.DataFrame, Tables]:
    """The runs of an experiment that are not deleted: what is listed of them, and the long tables of their values."""
    return _unique([_nothing(), *(_tables(page) for page in _pages(client, experiment, condition))])


def _since(client: MlflowClient, experiment: str, mine: pl.DataFrame) -> tuple[pl.DataFrame, Tables]:
    """Runs that began since the newest of `mine`; of the older ones those that run, and those that ended since."""
    begun, ended = mine["started_ms"].max(), mine["ended_ms"].max()
    if not isinstance(begun, int):
        return read_runs(client, experiment)
    older = f"attributes.start_time < {begun - OVERLAP_MS}"
    conditions = [f"attributes.start_time >= {begun - OVERLAP_MS}", f"{older} and attributes.status = 'RUNNING'"]
    if isinstance(ended, int):
        conditions.append(f"{older} and attributes.end_time >= {ended - OVERLAP_MS}")
    return _unique([read_runs(client, experiment, condition) for condition in conditions])


def _late(client: MlflowClient, experiment: str, mine: pl.DataFrame) -> Iterator[tuple[pl.DataFrame, Tables]]:
    """Runs that are not in `mine` though newer ones are: results that reached MLflow late keep their true start and
    end. Between the starts of known runs all are asked for but these.
    """
    older = mine.filter(pl.col("started_ms").is_not_null()).sort("started_ms", "run_id")
    slices = list(older.tail(LOOKED_THROUGH).iter_slices(BETWEEN))
    for number, some in enumerate(slices):
        conditions = [f"attributes.run_id NOT IN ({_quoted(some['run_id'])})"]
        if number or len(older) > LOOKED_THROUGH:
            conditions.append(f"attributes.start_time >= {some['started_ms'][0]}")
        if number + 1 < len(slices):
            conditions.append(f"attributes.start_time < {slices[number + 1]['started_ms'][0]}")
        else:
            conditions.append(f"attributes.start_time < {some['started_ms'][-1]}")
        yield _without(read_runs(client, experiment, " and ".join(conditions)), mine["run_id"])


def _without(found: tuple[pl.DataFrame, Tables], run_ids: pl.Series) -> tuple[pl.DataFrame, Tables]:
    others = ~pl.col("run_id").is_in(run_ids.implode())
    return found[0].filter(others), {table: values.filter(others) for table, values in found[1].items()}


def _quoted(run_ids: pl.Series) -> str:
    return ", ".join(f"'{id}'" for id in run_ids)


def _by_ids(run_ids: pl.Series) -> Iterator[str]:
    for some in run_ids.to_frame().iter_slices(SOME):
        yield f"attributes.run_id IN ({_quoted(some.to_series())})"


def _pages(client: MlflowClient, experiment: str, condition: str) -> Iterator[list[Run]]:
    token = None
    while True:
        page = client.search_runs(
            [experiment], condition, max_results=PAGE, order_by=["start_time ASC"], page_token=token
        )
        yield page
        token = page.token
        if not token:
            return


def _tables(runs: Iterable[Run]) -> tuple[pl.DataFrame, Tables]:
    runs = list(runs)
    listed = [
        (i.run_id, i.experiment_id, i.run_name or None, i.status, i.start_time, i.end_time, i.artifact_uri)
        for i in (run.info for run in runs)
    ]
    tables = {}
    for table in TABLES:
        columns: tuple[list[str], list[str], list[Any]] = ([], [], [])
        for run in runs:
            values = getattr(run.data, table)
            columns[0].extend([run.info.run_id] * len(values))
            columns[1].extend(values.keys())
            columns[2].extend(values.values())
        tables[table] = pl.DataFrame(list(columns), schema=schema(table))
    return pl.DataFrame(listed, schema=LISTED, orient="row"), tables


def _nothing() -> tuple[pl.DataFrame, Tables]:
    return pl.DataFrame(schema=LISTED), {table: pl.DataFrame(schema=schema(table)) for table in TABLES}


def _unique(read: list[tuple[pl.DataFrame, Tables]]) -> tuple[pl.DataFrame, Tables]:
    """One of many; of a run that was read more than once the last reading."""
    numbered = [listed.with_columns(reading=pl.lit(number)) for number, (listed, _) in enumerate(read)]
    listed = pl.concat(numbered).unique("run_id", keep="last", maintain_order=True)
    tables = {}
    for table in TABLES:
        frames = [found[table].with_columns(reading=pl.lit(number)) for number, (_, found) in enumerate(read)]
        tables[table] = pl.concat(frames).join(listed, on=["run_id", "reading"], how="semi").drop("reading")
    return listed.drop("reading"), tables
