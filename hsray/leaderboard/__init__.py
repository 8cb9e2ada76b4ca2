"""The comparison as tables and pictures, read from MLflow or its mirror. Imports neither torch, ray nor mlflow.

board = hsray.leaderboard.load("demo")
board.table()                             # polars: one row a cell
board.compare("hypersl-runet", "runet")   # paired differences on shared seeds and images
board.chart("curve")                      # altair
"""

from __future__ import annotations

from hsray.leaderboard.face import Leaderboard, load
from hsray.leaderboard.figure import figure
from hsray.leaderboard.published import Published, against_published, find_published, published_rows
from hsray.leaderboard.recompute import recompute
from hsray.leaderboard.render import print_table, render
from hsray.leaderboard.sheet import FORMATS
from hsray.leaderboard.table import Board, table

__all__ = [
    "FORMATS",
    "Board",
    "Leaderboard",
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
