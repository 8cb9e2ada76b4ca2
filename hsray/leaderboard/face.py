"""The leaderboard for notebooks: polars frames and altair charts, a line each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from hsray.errors import RequestError
from hsray.leaderboard.board_intervals import Over
from hsray.leaderboard.drawn import drawn_rows, numbered
from hsray.leaderboard.selection import Condition, experiments_of, select
from hsray.leaderboard.table import Board, table

if TYPE_CHECKING:
    import altair as alt

    from hsray.leaderboard.mirror import Mirror
    from hsray.leaderboard.sheet import Sheet


def load(
    *experiments: str,
    uri: str | Sequence[str] = "sqlite:///mlflow.db",
    mirror: str | Path = "mirror",
    sync: bool = True,
    where: Sequence[str] = (),
) -> Leaderboard:
    """The leaderboard of these experiments, all in the mirror where none is named.

    `uri`: one MLflow or several, which the mirror is brought up to first unless `sync` is False. `where`: conditions
    such as ``"dataset=hyko2"`` and ``"fraction<=0.1"``.

    Raises:
        RequestError: MLflow does not answer, or has no such experiment; a condition names what is not there.
        HsrayError: the mirror is damaged.
    """
    from hsray.leaderboard.mirror import Mirror
    from hsray.leaderboard.mirror import sync as bring_up_to_date

    uris = [uri] if isinstance(uri, str) else list(uri)
    notes: list[str] = []
    for one in uris if sync else []:
        notes += bring_up_to_date(Path(mirror), one, experiments, lacking_ok=len(uris) > 1).notes
    return Leaderboard(Mirror(Path(mirror), offline=not sync, uri=uris), experiments, where, notes)


class Leaderboard:
    """Runs of a mirror, and what can be asked of them. `notes` say what was left out.

    Scores are fractions of one in `runs`, percent in all other frames; times are seconds in `table`.
    """

    def __init__(
        self, mirror: Mirror, experiments: Sequence[str] = (), where: Sequence[str] = (), notes: Sequence[str] = ()
    ) -> None:
        self.mirror = mirror
        chosen, twice = experiments_of(mirror, experiments)
        found, left_out = select(chosen, [Condition.parse(text) for text in where], mirror)
        self.runs: pl.LazyFrame = found.lazy()
        self.notes = [*notes, *left_out, *twice]

    def board(self, interval: Over = "seeds") -> Board:
        """The comparison with its Pareto fronts and notes."""
        from hsray.leaderboard.confusions import confusions_of

        return table(self.runs, interval=interval, confusions=confusions_of(self.mirror))

    def table(self, interval: Over = "seeds") -> pl.DataFrame:
        """One row a cell: the columns of `Board.rows`."""
        return self.board(interval).rows

    def compare(self, a: str, b: str, metric: str = "jaccard_macro") -> pl.DataFrame:
        """Strategy `a` against `b`: paired differences, probability of improvement, tests; one row a shared cell.

        Raises RequestError: one of them is not there.
        """
        from hsray.leaderboard.compare import compare
        from hsray.leaderboard.confusions import confusions_of

        return _frame(compare(self.runs, a, b, confusions_of(self.mirror), [metric]))

    def curves(self, metric: str = "jaccard_macro") -> pl.DataFrame:
        """Means and intervals by fraction, of every dataset."""
        from hsray.leaderboard.curves import CURVE_SCHEMA, curves

        points = list(CURVE_SCHEMA)  # the other sheets hold what the curves amount to
        return pl.concat([sheet.frame for sheet in curves(self.runs, metric) if sheet.frame.columns == points])

    def query(self, sql: str) -> pl.DataFrame:
        """SQL over the whole mirror: the tables runs, metrics, params and tags. Raises RequestError where it fails."""
        from hsray.leaderboard.query import query

        return query(self.mirror, sql).frame

    def chart(self, kind: str = "scores", metric: str = "jaccard_macro") -> alt.VConcatChart:
        """`scores`: dots with intervals for every dataset and fraction; `curve`: score by fraction for every dataset.

        Raises RequestError: no such chart, or there is nothing to draw.
        """
        import altair as alt

        from hsray.leaderboard.charts import curve_chart, scores_chart

        rows = drawn_rows(self.table(), self.runs)
        if kind not in ("scores", "curve"):
            raise RequestError(f"there is no chart '{kind}'", do="take one of: scores, curve")
        if not rows.height:
            raise RequestError("no final is complete, so there is nothing to draw", do="print .board().notes")
        variants = rows["variant"].unique().sort().to_list()
        by = ["dataset", "fraction"] if kind == "scores" else ["dataset"]
        draw = scores_chart if kind == "scores" else curve_chart
        parts = rows.partition_by(by, as_dict=True, maintain_order=True)
        drawn = [
            draw(of, metric, strategies=numbered(of, variants)).properties(title=", ".join(key))
            for key, of in parts.items()
        ]
        config = drawn[0].config
        for chart in drawn:
            chart.config = alt.Undefined  # which altair takes at the top alone
        whole = alt.vconcat(*drawn).resolve_scale(color="independent", shape="independent")
        whole.config = config
        return whole


def _frame(sheets: Sequence[Sheet]) -> pl.DataFrame:
    return sheets[0].frame if sheets else pl.DataFrame()
