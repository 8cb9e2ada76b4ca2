"""Where commands say what they are doing: standard error, so that standard output holds results alone."""

from __future__ import annotations

import os

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

err = Console(stderr=True)


def out() -> Console:
    """For tables on standard output: as wide as the terminal, or as COLUMNS says; else there is nothing to fit into."""
    console = Console()
    return console if console.is_terminal or os.environ.get("COLUMNS") else Console(width=160)


def bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=err, transient=True)
