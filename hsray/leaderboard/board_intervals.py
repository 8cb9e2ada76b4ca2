"""Interquartile means and intervals of the board's cells."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import polars as pl

from hsray.errors import HsrayError, RequestError
from hsray.leaderboard import statistics
from hsray.leaderboard.chosen import CELL, seed_of
from hsray.leaderboard.statistics import Interval
from hsray.scores import METRICS

if TYPE_CHECKING:
    from hsray.leaderboard.confusions import Confusions

Over = Literal["seeds", "images", "both"]
SCHEMA: dict[str, Any] = {
    **dict.fromkeys(CELL, pl.String),
    **dict.fromkeys((f"{metric}_{part}" for metric in METRICS for part in ("iqm", "low", "high")), pl.Float64),
    "interval": pl.String,
}


@dataclass
class Intervals:
    """Draws again what `over` says: seeds, test images (of the mean over seeds), or both. `without`: why cells have no
    interval, and which."""

    over: Over = "seeds"
    confusions: Callable[[str], Confusions | None] | None = None
    without: dict[str, list[str]] = field(default_factory=dict)

    def columns(self, finals: pl.DataFrame) -> pl.DataFrame:
        """Per cell and metric `_iqm`, `_low`, `_high` in percent, and `interval`, the method's name.

        `finals`: complete ones, one a seed, with scores in percent.
        """
        rows = []
        names = ("run_id", *METRICS)
        cells = finals.group_by(CELL, maintain_order=True).agg(
            *(pl.col(name) for name in names), pl.col("dataset").first(), pl.col("cell_name").first()
        )
        for cell in cells.iter_rows(named=True):
            matrices = None if self.over == "seeds" else self._matrices(cell["run_id"], cell["cell_name"])
            row: dict[str, Any] = {name: cell[name] for name in CELL}
            for metric in METRICS:
                row[f"{metric}_iqm"] = statistics.iqm(cell[metric])
                if self.over == "seeds":
                    # One seed for all cells: they share the draws, which concerns no comparison within a cell.
                    found = statistics.seed_interval(cell[metric], seed=seed_of("seeds", metric))
                else:
                    found = self._over_images(matrices, metric, seed_of(cell["dataset"], cell["cell"], metric))
                if found is not None:
                    row |= {f"{metric}_low": found.low, f"{metric}_high": found.high, "interval": found.method}
            if self.over != "seeds" and matrices and "interval" not in row:
                self._note(f"fewer than {statistics.FEWEST_IMAGES} labelled test images", cell["cell_name"])
            rows.append(row)
        return pl.DataFrame(rows, schema=SCHEMA)

    def _matrices(self, run_ids: list[str], cell: str) -> list[Confusions]:
        """Those of every final of a cell, or none and a note."""
        assert self.confusions is not None, "intervals over images need confusion matrices"
        if self.over == "both" and len(run_ids) < statistics.FEWEST:
            return []  # which the board notes itself
        try:
            found = [self.confusions(run_id) for run_id in run_ids]
        except RequestError:
            raise  # MLflow does not answer
        except HsrayError as error:
            self._note(f"{error.what} ({error.where})", cell)
            return []
        there = [one for one in found if one is not None]
        if len(there) < len(found):
            self._note("a final's confusion matrices are not there", cell)
        elif not all(one.same_test_set(there[0]) for one in there):
            self._note("its finals read different test images", cell)
        elif there[0].of_one_scene:
            self._note("its test images are blocks of one scene, which depend on each other", cell)
        else:
            return there
        return []

    def _over_images(self, matrices: list[Confusions] | None, metric: str, seed: int) -> Interval | None:
        if not matrices:
            return None
        confusion_SNKK = np.stack([one.of_images(matrices[0].images_N) for one in matrices])
        draw = statistics.hierarchical_interval if self.over == "both" else statistics.image_interval
        found = draw(confusion_SNKK, matrices[0].ignore_id, metric, seed=seed)
        return found and Interval(100 * found.low, 100 * found.high, found.method)

    def _note(self, why: str, cell: str) -> None:
        self.without.setdefault(why, []).append(cell)
