"""Cells that search the fraction: score up, labelled images down."""

from __future__ import annotations

import polars as pl

SCHEMA = {
    **dict.fromkeys(("dataset", "strategy", "family"), pl.String),
    "contaminated": pl.Boolean,
    "jaccard_macro": pl.Float64,
    "labelled_images": pl.Int64,
    **dict.fromkeys(("trial", "cell"), pl.String),
}


def fronts(cells: list[pl.DataFrame]) -> tuple[pl.DataFrame, list[str]]:
    """The trials of every cell that no other beats in both: validation Jaccard in percent, and labelled images."""
    rows, notes = [], []
    for of_cell in cells:
        trials = of_cell.filter(
            pl.col("kind") == "trial",
            ~pl.col("superseded"),
            pl.col("state") == "complete",
            pl.col("validation_jaccard_macro").is_finite(),
            pl.col("labelled_images").is_not_null(),
        ).sort("labelled_images", "validation_jaccard_macro", descending=[False, True])
        if not len(trials):
            notes.append(f"{of_cell['cell_name'][0]}: no complete trial yet, so no Pareto front")
        best = float("-inf")
        for trial in trials.iter_rows(named=True):
            if trial["validation_jaccard_macro"] > best:
                best = trial["validation_jaccard_macro"]
                rows.append(
                    {
                        **{name: trial[name] for name in ("dataset", "strategy", "family", "contaminated")},
                        "jaccard_macro": 100 * best,
                        "labelled_images": int(trial["labelled_images"]),
                        "trial": trial["name"],
                        "cell": trial["cell"],
                    }
                )
    return pl.DataFrame(rows, schema=SCHEMA).sort("dataset", "strategy", "labelled_images"), notes
