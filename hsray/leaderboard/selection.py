"""Which runs are looked at: conditions such as `dataset=hyko2` and `fraction<=0.1`, over axes, parameters and tags."""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from hsray.axes import axis_name
from hsray.errors import RequestError
from hsray.leaderboard.definitions import settled

if TYPE_CHECKING:
    from hsray.leaderboard.mirror import Mirror

COLUMNS = (
    "experiment", "source", "dataset", "strategy", "family", "task", "kind", "state", "seed", "contaminated", "name",
    "run_id", "cell", "reason",
)  # fmt: skip
OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "!=": operator.ne, "<=": operator.le, ">=": operator.ge, "=": operator.eq, "<": operator.lt, ">": operator.gt,
}  # fmt: skip
DO = "write NAME=VALUE (or !=, <=, >=, <, >), several values with commas: --where dataset=hyko2,hcv2"


@dataclass(frozen=True)
class Condition:
    """`name operator value`; of several values any (`=`) or none (`!=`) may hold."""

    name: str
    operator: str
    values: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Condition:
        """Raises RequestError: it is no condition."""
        found = re.fullmatch(r"\s*([^=!<>]+?)\s*(!=|<=|>=|==|=|<|>)\s*(.*?)\s*", text)
        if not found:
            raise RequestError(f"'{text}' is no condition", where="--where", do=DO)
        name, sign, value = found.groups()
        condition = cls(name, sign.replace("==", "="), tuple(one.strip() for one in value.split(",")))
        if sign[0] in "<>" and condition.numbers is None:
            raise RequestError(f"'{value}' is no number, which '{sign}' needs", where=f"--where {text}", do=DO)
        return condition

    @property
    def numbers(self) -> list[float] | None:
        """The values as numbers, 10% as 0.1, if all of them are."""
        try:
            return [float(one[:-1]) / 100 if one.endswith("%") else float(one) for one in self.values]
        except ValueError:
            return None

    def holds(self, value: pl.Expr) -> pl.Expr:
        """Of a column of text; null where that is null."""
        numbers = self.numbers
        compare = OPERATORS[self.operator]
        if self.operator in ("=", "!="):
            same = value.is_in(list(self.values))
            if numbers is not None:
                same |= value.cast(pl.Float64, strict=False).is_in(numbers).fill_null(value=False)
            return same if self.operator == "=" else ~same
        assert numbers is not None
        return pl.all_horizontal(compare(value.cast(pl.Float64, strict=False), one) for one in numbers)


def select(
    runs: pl.DataFrame, conditions: Sequence[Condition], mirror: Mirror | None = None
) -> tuple[pl.DataFrame, list[str]]:
    """The runs that meet all conditions, and notes that count the others.

    What has no such name differs from every value. A run that cannot be used and lacks what is asked for stays, so that
    it is counted as what it is. Which definition of a cell counts, how often the test set was read and whether the cell
    is contaminated are those of all its runs (`settled`).

    Raises:
        RequestError: nothing is called so; names what there is.
    """
    frame = settled(runs)
    for number, condition in enumerate(conditions):
        column = f"asked {number}"
        frame = frame.with_columns(_value(frame, condition.name, mirror).alias(column))
        kept = condition.holds(pl.col(column)).fill_null(value=condition.operator == "!=")
        frame = frame.filter(kept | (pl.col(column).is_null() & pl.col("problem").is_not_null())).drop(column)
    left_out = runs.height - frame.height
    return frame, [f"{left_out} {'run' if left_out == 1 else 'runs'} left out by the filters"] if left_out else []


def once(runs: pl.DataFrame, synced: Mapping[str, int]) -> tuple[pl.DataFrame, list[str]]:
    """Every experiment once that is mirrored from several addresses of one store, as they share runs show: as it was
    found by the last sync (`synced`: when, by source). And notes that count the runs left out.
    """
    if "source" not in runs.columns or runs["source"].n_unique() < 2:
        return runs, []
    newest_first = sorted(runs["source"].unique(), key=lambda source: (-synced[source], source))
    ranked = runs.with_columns(
        pl.col("source").replace_strict({source: rank for rank, source in enumerate(newest_first)}).alias("rank")
    )
    best = ranked.with_columns(pl.col("rank").min().over("experiment_id", "run_id").alias("best"))
    stale = best.filter(pl.col("rank") > pl.col("best")).group_by("source", "experiment_id").agg(pl.col("best").min())
    left_out = runs.join(stale, on=["source", "experiment_id"], how="inner")
    counted = left_out.group_by("experiment", "source", "best").len().sort("experiment", "source")
    notes = [
        f"{count} {'run' if count == 1 else 'runs'} of {name} at {source} not used: "
        f"the same store was synced later from {newest_first[newer]}"
        for name, source, newer, count in counted.iter_rows()
    ]
    return runs.join(stale, on=["source", "experiment_id"], how="anti", maintain_order="left"), notes


def experiments_of(mirror: Mirror, names: Sequence[str]) -> tuple[pl.DataFrame, list[str]]:
    """The runs of these experiments, of all where none is named, each once; and notes on those left out.

    Raises RequestError: the mirror has no such experiment; names those it has.
    """
    synced = {source.address: source.synced_ms for source in mirror.manifest.sources.values()}
    if not names:
        return once(mirror.runs().collect(), synced)
    there = set(mirror.sources()["experiment"])
    for name in names:
        if name not in there:
            do = f"take one of: {', '.join(sorted(there)) or 'none'}; or sync first"
            raise RequestError(f"the mirror has no experiment '{name}'", where=str(mirror.folder), do=do)
    return once(mirror.runs().filter(pl.col("experiment").is_in(list(names))).collect(), synced)


def _value(frame: pl.DataFrame, name: str, mirror: Mirror | None) -> pl.Series:
    """What every run has under this name, as text: a column, an axis, a parameter or a tag, the first that it has."""
    found: list[pl.Series] = []
    if name in COLUMNS and name in frame.columns:
        found.append(frame[name].cast(pl.String))
    axes = _axes(frame)
    if any(name in one for one in axes.values()):
        named = {text: axis_name(one[name]) for text, one in axes.items() if name in one}
        found.append(frame["axes"].replace_strict(named, default=None, return_dtype=pl.String))
    if mirror is not None and name not in COLUMNS:  # an axis of some cells may be searched in others
        found += _of_runs(frame, mirror.params(), [name])
    if mirror is not None and not found:
        found += _of_runs(frame, mirror.tags(), [name, f"hsray.{name}"])
    if not found:
        raise RequestError(f"no run has anything called '{name}'", where="--where", do=_there(frame, axes, mirror))
    return pl.select(pl.coalesce(pl.lit(one) for one in found)).to_series()


def _of_runs(frame: pl.DataFrame, table: pl.LazyFrame, keys: list[str]) -> list[pl.Series]:
    run = ["source", "run_id"]
    having = table.filter(pl.col("key").is_in(keys)).select(*run, "value").collect()
    if not having.height:
        return []
    having = having.unique(run, keep="first", maintain_order=True)
    return [frame.select(run).join(having, on=run, how="left", maintain_order="left")["value"]]


def _axes(frame: pl.DataFrame) -> dict[str, dict[str, Any]]:
    texts = frame.filter(pl.col("problem").is_null())["axes"].unique().to_list()
    return {text: json.loads(text) for text in texts}


def _there(frame: pl.DataFrame, axes: dict[str, dict[str, Any]], mirror: Mirror | None) -> str:
    parts = {"columns": [name for name in COLUMNS if name in frame.columns]}
    parts["axes"] = sorted({name for one in axes.values() for name in one} - set(COLUMNS))
    if mirror is not None:
        for title, table in (("parameters", mirror.params()), ("tags", mirror.tags())):
            keys = table.select(pl.col("key").unique().sort()).collect()["key"].to_list()
            parts[title] = [key for key in keys if not key.startswith(("mlflow.", "hsray."))]
    return "take one of: " + "; ".join(f"{title} {', '.join(names)}" for title, names in parts.items() if names)
