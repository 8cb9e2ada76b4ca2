"""Commands that print tables: leaderboard, features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsray.cli.app import app
from hsray.cli.options import DATA, URI, Against, Data, Format, Uri, picture_path


@app.command()
def leaderboard(
    experiment: Annotated[str, typer.Argument(help="The sweep's name, which is its MLflow experiment's.")],
    tracking_uri: Uri = URI,
    format: Annotated[Format, typer.Option("--format", help="How the table is printed.")] = Format.table,
    against: Annotated[Against | None, typer.Option(help="Add columns ours, published, difference.")] = None,
    picture: Annotated[
        Path | None, typer.Option(callback=picture_path, help="Write scores by fraction and predictions (PNG).")
    ] = None,
) -> None:
    """Print the comparison from MLflow: means and intervals over seeds, trials, cost.

    Example: `hsray leaderboard demo --format markdown`
    """
    from hsray.leaderboard import figure, print_table

    print_table(experiment, tracking_uri, format.value, published=against is not None)
    if picture is not None:
        figure(experiment, tracking_uri, picture)


features = typer.Typer(no_args_is_help=True, help="Features of frozen encoders, kept for all runs that share them.")
app.add_typer(features, name="features")


@features.command("list")
def list_features(
    data: Data = DATA,
    format: Annotated[Format, typer.Option("--format", help="How the table is printed.")] = Format.table,
) -> None:
    """Print the kept features: dataset, encoder, weights, dtype, channels, size, last use.

    Example: `hsray features list --data /data/hsi`
    """
    from hsray.commands.features import print_features

    print_features(data, format.value)


@features.command("prune")
def prune_features(
    names: Annotated[list[str] | None, typer.Argument(help="Folders to delete, as listed.")] = None,
    data: Data = DATA,
    unused_for: Annotated[float | None, typer.Option(min=0, help="Delete what was not used for so many days.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Delete all that is not being written.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Delete kept features, half-written ones too, after saying which. They are computed again when needed.

    Runs that read them now would fail: choose those that no run uses.

    Examples: `hsray features prune --unused-for 30` · `hsray features prune hyko2-hypersl-1a2b3c4d --yes`
    """
    from hsray.commands.features import delete_kept_features

    delete_kept_features(data, names or [], unused_for, everything=everything, yes=yes)
