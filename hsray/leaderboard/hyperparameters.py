"""The hyperparameters of trials: those searched in each cell, and how the score answers to them."""

from __future__ import annotations

import numpy as np
import polars as pl

from hsray.leaderboard.chosen import CELL, CONTAMINATED, NAMES, PLACE, Runs, choose
from hsray.leaderboard.sheet import Column, Sheet

NO_HYPERPARAMETERS = ("seed", "fraction")  # axes of the study, recorded among the parameters
Params = pl.DataFrame | pl.LazyFrame


def parallel_coordinates(runs: Runs, params: Params) -> list[Sheet]:
    """A sheet a cell, a row a trial: the searched hyperparameters (numbers where all are) and `score`, best first."""
    table, notes = trial_params(runs, params)
    sheets = []
    for _, cell in table.group_by(*CELL, maintain_order=True):
        index = ["run_id", "name", "state", *PLACE, "score"]
        own = pl.when(pl.col("key").is_in(index)).then("hyperparameter " + pl.col("key")).otherwise("key")
        cell = cell.with_columns(own.alias("key"))
        searched = searched_in(cell)
        if not searched:
            continue
        wide = cell.filter(pl.col("key").is_in(searched)).pivot("key", index=index, values="value")
        wide = wide.select(*index, *searched)
        numbers = [name for name in searched if as_numbers(wide[name].drop_nulls()) is not None]
        wide = wide.with_columns(pl.col(numbers).cast(pl.Float64)).sort("score", "run_id", descending=[True, False])
        columns = (
            Column("name", "trial", align="left"),
            *(Column(name, name, align="right" if name in numbers else "left") for name in searched),
            Column("score", "best validation Jaccard", 2, unit="%"),
        )
        title = f"{wide['dataset'][0]}, {wide['fraction'][0]}, {wide['variant'][0]}: trials"
        sheets.append(Sheet(title, wide, columns, ("pruned trials with the score at which they were stopped", *notes)))
    return sheets


def trial_params(runs: Runs, params: Params) -> tuple[pl.DataFrame, list[str]]:
    """A row a trial with a score and hyperparameter: cell, score, key, value."""
    chosen = choose(runs)
    trials, notes = chosen.trials()
    scored = trials.filter(pl.col("score").is_not_null())
    if lost := len(trials) - len(scored):
        notes.append(f"left out, trials without a score: {lost}")
    # The name of a source may have become part of the experiment's, so runs are told apart by the source itself.
    both = params.lazy()
    on = ["source", "run_id"] if "source" in scored.columns and "source" in both.collect_schema() else ["run_id"]
    wanted = both.join(scored.lazy().select(on), on=on, how="semi").filter(~pl.col("key").is_in(NO_HYPERPARAMETERS))
    found = scored.join(wanted.unique([*on, "key"]).collect(), on=on, how="inner")
    if bare := len(scored) - found.select(on).n_unique():
        notes.append(f"left out, trials without parameters: {bare}")
    # Whatever order the mirror holds them in, the sums are the same.
    return found.sort(*PLACE[:5], *CELL, "end", "run_id", "key"), [*notes, *chosen.notes]


def searched_in(cell: pl.DataFrame) -> list[str]:
    """The hyperparameters that differ between the cell's trials, or that only some of them have."""
    trials = cell["run_id"].n_unique()
    counted = cell.group_by("key").agg(pl.col("value").n_unique().alias("values"), pl.len().alias("trials"))
    return counted.filter((pl.col("values") > 1) | (pl.col("trials") < trials))["key"].sort().to_list()


def as_numbers(values: pl.Series) -> np.ndarray | None:
    """The values as numbers; None where one of them is no finite number, or there are none."""
    numbers = values.cast(pl.Float64, strict=False)
    return numbers.to_numpy() if len(numbers) and numbers.is_finite().fill_null(value=False).all() else None


def response(table: pl.DataFrame, key: str) -> Sheet:
    """Trials by decade of the learning rate, or by adapter."""
    of_key = table.filter(pl.col("key") == key)
    notes = []
    if key == "lr":
        number = pl.col("value").cast(pl.Float64, strict=False)
        known = of_key.with_columns(number.alias("number")).filter(pl.col("number").is_finite(), pl.col("number") > 0)
        if odd := len(of_key) - len(known):
            notes.append(f"left out, trials whose learning rate is no positive number: {odd}")
        # Rounded, lest 1e-3 falls short of its decade by the last digit of a logarithm.
        decade = pl.col("number").log10().round(9).floor().cast(pl.Int64)
        binned = known.with_columns(decade.alias("order"))
        lower, upper = (pl.concat_str(pl.lit("1e"), pl.col("order") + one) for one in (0, 1))
        binned = binned.with_columns(pl.concat_str(lower, pl.lit(" ≤ lr < "), upper).alias("bin"))
    else:
        binned = of_key.with_columns(pl.lit(0, pl.Int64).alias("order"), pl.col("value").alias("bin"))
    frame = (
        binned.group_by("experiment", *PLACE, "order", "bin")
        .agg(
            pl.len().alias("trials"),
            (pl.col("state") == "pruned").sum().alias("pruned"),
            pl.col("score").median().alias("median"),
            pl.col("score").max().alias("best"),
        )
        .sort("dataset", "official", "fraction_percent", "variant", "experiment", "order", "bin")
    )
    title = {"lr": "learning rate", "adapter": "adapter"}[key]
    columns = (
        *NAMES,
        Column("bin", title, align="left"),
        Column("trials", "trials"),
        Column("pruned", "of them pruned"),
        Column("median", "median", 2, unit="%"),
        Column("best", "best", 2, unit="%"),
    )
    marked = [CONTAMINATED] if frame["contaminated"].any() else []
    said = "best validation Jaccard of complete and pruned trials; the search tries good values more often"
    return Sheet(f"response to {title}", frame, columns, (*marked, said, *notes))
