"""Best is marked among strategies, never among datasets or fractions."""

from __future__ import annotations

from hsray.leaderboard.board_sheets import View, board_sheets
from hsray.leaderboard.formats.cells import columns_of_cells
from hsray.leaderboard.table import table
from tests.leaderboard.frames import finals, frame

EASIER = {"pines": 0.0, "pavia": 0.4}
BOARD = table(
    frame(*(
        row
        for dataset, easier in EASIER.items() for fraction, more in ((0.1, 0.0), (1.0, 0.2))
        for strategy, skill in (("runet", 0.1), ("vit", 0.2))
        for row in finals(easier + more + skill, dataset=dataset, strategy=strategy, fraction=fraction)
    ))
)  # fmt: skip
BOTH, DATASET = ("dataset", "fraction"), ("dataset",)


def marked(view: View) -> set[str]:
    """The strategies of the rows that hold a value marked best."""
    found = set()
    for sheet in board_sheets(BOARD, view):
        for cells in columns_of_cells(sheet):
            best = [cell.place == 1 for cell in cells]
            found |= set(sheet.frame.filter(best).get_column("strategy")) if any(best) else set()
    return found


def test_only_rows_of_one_dataset_and_fraction_are_ranked() -> None:
    assert marked(View()) == {"vit"}
    for by in (("strategy",), DATASET, ("fraction",), ("strategy", "dataset"), ("family",)):
        assert marked(View(group_by=by)) == set(), by


def test_a_pivot_ranks_a_column_where_its_rows_are_strategies() -> None:
    assert marked(View(pivot="fraction")) == marked(View(pivot="dataset")) == {"vit"}
    assert marked(View(pivot="fraction", group_by=("strategy",))) == set()
    pivots = [View(pivot="strategy", group_by=by) for by in (BOTH, DATASET, ("fraction",))]
    for view in pivots:
        assert not any(cell.place for sheet in board_sheets(BOARD, view) for column in columns_of_cells(sheet)
                       for cell in column)  # fmt: skip
