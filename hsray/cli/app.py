"""The application that the modules beside this one register their commands with."""

from __future__ import annotations

import typer

app = typer.Typer(
    name="hsray",
    help="Where should prior knowledge for hyperspectral imaging come from, and how many labels does it save?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)
