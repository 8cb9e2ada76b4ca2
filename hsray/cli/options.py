"""Options that several commands share."""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hsray.errors import RequestError


def only_a_folder(runs: Path) -> Path:
    if re.match(r"[a-z0-9]+:/", str(runs)):
        raise RequestError(
            "this command needs a folder of runs, not a store", where="--runs, HSRAY_RUNS", do="give one: --runs runs"
        )
    return runs


Data = Annotated[
    Path, typer.Option("--data", envvar="HSRAY_DATA", help="Folder of prepared datasets.", show_default=True)
]
Runs = Annotated[
    Path,
    typer.Option(
        "--runs", envvar="HSRAY_RUNS", callback=only_a_folder, help="Folder of sweeps: ledger, logs, checkpoints."
    ),
]
RunsOrStore = Annotated[
    str,
    typer.Option("--runs", envvar="HSRAY_RUNS", help="Folder of sweeps, or a store that all nodes reach: s3://…"),
]
Report = Annotated[
    bool,
    typer.Option("--report/--no-report", envvar="HSRAY_REPORT", help="At the end, write report.html and log it."),
]
Uri = Annotated[str, typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow: a server or a store.")]
Uris = Annotated[
    list[str],
    typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow: a server or a store. May be repeated."),
]
MirrorFolder = Annotated[
    Path, typer.Option("--mirror", envvar="HSRAY_MIRROR", help="Folder of the mirror: MLflow's runs in Parquet.")
]
Experiment = Annotated[Path, typer.Argument(help="YAML file of the experiment.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="The file's smoke variant: a tiny budget, to see that all works.")]
DATA, RUNS, URI, MIRROR = Path("data"), Path("runs"), "sqlite:///mlflow.db", Path("mirror")


class Format(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


class SheetFormat(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"
    parquet = "parquet"
    markdown = "markdown"
    latex = "latex"
    html = "html"


class Metric(StrEnum):
    accuracy_micro = "accuracy_micro"
    accuracy_macro = "accuracy_macro"
    f1_macro = "f1_macro"
    jaccard_macro = "jaccard_macro"


class Over(StrEnum):
    seeds = "seeds"
    images = "images"
    both = "both"


class Short(StrEnum):
    table = "table"
    json = "json"


ShortFormat = Annotated[Short, typer.Option("--format", help="How it is printed.")]
TABLE = Short.table


class Against(StrEnum):
    published = "published"


class Nan(StrEnum):
    refuse = "refuse"
    zero = "zero"
    drop_band = "drop-band"


class Task(StrEnum):
    segmentation = "segmentation"
    spectral = "spectral"


def picture_path(path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise RequestError(
            f"'{path.name}' is no name of a picture", where="--picture", do="end it in .png, .pdf or .svg"
        )
    return path
