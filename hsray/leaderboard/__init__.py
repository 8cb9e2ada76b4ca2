"""The comparison as a table and a picture, read from MLflow alone. Imports neither torch nor ray."""

from __future__ import annotations

from hsray.leaderboard.figure import figure
from hsray.leaderboard.published import Published, against_published, find_published, published_rows
from hsray.leaderboard.recompute import recompute
from hsray.leaderboard.render import FORMATS, print_table, render
from hsray.leaderboard.runs import load
from hsray.leaderboard.table import Board, table

__all__ = [
    "FORMATS",
    "Board",
    "Published",
    "against_published",
    "figure",
    "find_published",
    "load",
    "print_table",
    "published_rows",
    "recompute",
    "render",
    "table",
]
