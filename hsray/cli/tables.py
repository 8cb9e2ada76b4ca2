"""Commands that print tables and write reports: leaderboard, report, features."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsray.cli.app import app
from hsray.cli.options import (
    DATA,
    MIRROR,
    URI,
    Against,
    Data,
    Format,
    Metric,
    MirrorFolder,
    Over,
    SheetFormat,
    Uri,
Uris,
    picture_path,
)  # fmt: skip


@app.command()
def leaderboard(
    experiments: Annotated[
        list[str] | None, typer.Argument(help="Names of sweeps, which are MLflow experiments; none: all in the mirror.")
    ] = None,
    tracking_uri: Uris = [URI],  # noqa: B006 (typer copies it)
    mirror: MirrorFolder = MIRROR,
    sync: Annotated[bool, typer.Option("--sync/--no-sync", help="Bring the mirror up to date first.")] = True,
    full: Annotated[bool, typer.Option("--full", help="Sync by reading every run again.")] = False,
    where: Annotated[
        list[str] | None,
        typer.Option(metavar="CONDITION", help="Runs to look at: an axis, parameter or tag. May be repeated."),
    ] = None,
    metric: Annotated[Metric, typer.Option(help="What is ranked, pivoted and compared.")] = Metric.jaccard_macro,
    interval: Annotated[Over, typer.Option(help="Intervals over seeds, test images, or both.")] = Over.seeds,
    group_by: Annotated[
        list[str] | None, typer.Option(metavar="COLUMN", help="A table for each value. May be repeated.")
    ] = None,
    sort: Annotated[str | None, typer.Option(metavar="COLUMN", help="Smallest first; -COLUMN: largest first.")] = None,
    pivot: Annotated[str | None, typer.Option(metavar="AXIS", help="The values of this axis as columns.")] = None,
    compare: Annotated[
        tuple[str, str] | None, typer.Option(metavar="A B", help="Two strategies on what they share.")
    ] = None,
    curve: Annotated[bool, typer.Option("--curve", help="Score by fraction, area, labels needed to match.")] = False,
    overall: Annotated[bool, typer.Option("--overall", help="Average and worst case over datasets, ranks.")] = False,
    cost: Annotated[bool, typer.Option("--cost", help="Device-hours and trials to reach a score.")] = False,
    importance: Annotated[bool, typer.Option("--importance", help="Which hyperparameters mattered.")] = False,
    query: Annotated[
        str | None, typer.Option(metavar="SQL", help="SQL over the mirror: runs, metrics, params, tags.")
    ] = None,
    against: Annotated[Against | None, typer.Option(help="Add columns ours, published, difference.")] = None,
    picture: Annotated[
        Path | None, typer.Option(callback=picture_path, help="Write scores by fraction and predictions (PNG).")
    ] = None,
    format: Annotated[
        SheetFormat | None, typer.Option("--format", help="How it is written; else as --out ends, or a table.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Write to this file.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="--out may replace a file.")] = False,
) -> None:
    """Print the comparison: means and intervals over seeds, trials, cost; or what the mirror says to another question.

    Examples: `hsray leaderboard demo` · `hsray leaderboard --where dataset=hyko2 --where "fraction<=0.1"` ·
    `hsray leaderboard demo --pivot fraction --out table.tex` · `hsray leaderboard demo --compare hypersl runet` ·
    `hsray leaderboard --query "SELECT strategy, max(f1_macro) FROM runs GROUP BY strategy"`
    """
    from hsray.commands.asked import Asked
    from hsray.commands.leaderboard import show_leaderboard

    asked = Asked(
        experiments=experiments or [], uris=tracking_uri, mirror=mirror, sync=sync, full=full, where=where or [],
        metric=metric.value, interval=interval.value, group_by=group_by or [], sort=sort, pivot=pivot,
        compare=compare, curve=curve, overall=overall, cost=cost, importance=importance, query=query,
        published=against is not None, picture=picture, format=format and format.value, out=out, overwrite=overwrite,
    )  # fmt: skip
    show_leaderboard(asked)


@app.command()
def report(
    experiment: Annotated[str, typer.Argument(help="The sweep's name, which is its MLflow experiment's.")],
    tracking_uri: Uri = URI,
    mirror: MirrorFolder = MIRROR,
    sync: Annotated[bool, typer.Option("--sync/--no-sync", help="Bring the mirror up to date first.")] = True,
    out: Annotated[Path, typer.Option(help="The file to write.")] = Path("report.html"),
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Write one HTML file with everything: summary in words, tables, curves, pictures, cost, what is missing.

    It opens without a network and prints on A4. With `--no-sync`, files of runs that the mirror has no copy of are left
    out.

    Example: `hsray report demo --out demo.html`
    """
    from hsray.commands.report import write_report

    write_report(experiment, tracking_uri, mirror, out, synced=sync, overwrite=overwrite)


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
