"""The command line. No logic here, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
import traceback
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hsray.errors import HsrayError, RequestError

app = typer.Typer(
    name="hsray",
    help="Where should prior knowledge for hyperspectral imaging come from, and how many labels does it save?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode="markdown",
)

Data = Annotated[
    Path, typer.Option("--data", envvar="HSRAY_DATA", help="Folder of prepared datasets.", show_default=True)
]
Runs = Annotated[Path, typer.Option("--runs", envvar="HSRAY_RUNS", help="Folder of sweeps: ledger, logs, checkpoints.")]
Uri = Annotated[str, typer.Option("--tracking-uri", envvar="MLFLOW_TRACKING_URI", help="MLflow: a server or a store.")]
Experiment = Annotated[Path, typer.Argument(help="YAML file of the experiment.")]
Smoke = Annotated[bool, typer.Option("--smoke", help="The file's smoke variant: a tiny budget, to see that all works.")]
DATA, RUNS, URI = Path("data"), Path("runs"), "sqlite:///mlflow.db"


class Format(StrEnum):
    table = "table"
    json = "json"
    csv = "csv"
    markdown = "markdown"


class Against(StrEnum):
    published = "published"


class Nan(StrEnum):
    refuse = "refuse"
    zero = "zero"
    drop_band = "drop-band"


class Task(StrEnum):
    segmentation = "segmentation"
    spectral = "spectral"


def _picture(path: Path | None) -> Path | None:
    if path is not None and path.suffix.lower() not in (".png", ".pdf", ".svg"):
        raise RequestError(
            f"'{path.name}' is no name of a picture", where="--picture", do="end it in .png, .pdf or .svg"
        )
    return path


@app.command()
def prepare(
    source: Annotated[
        str, typer.Argument(help="indian-pines, hyko2, hsidrive, hcv2, hcv2-iros2024, or your own TOML file.")
    ],
    raw: Annotated[Path | None, typer.Argument(help="Folder of the raw files (benchmark datasets).")] = None,
    data: Data = DATA,
    name: Annotated[str | None, typer.Option(help="Name of the prepared dataset.")] = None,
    nan: Annotated[Nan, typer.Option(help="What to do with NaN and infinite values.")] = Nan.refuse,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace a prepared dataset.")] = False,
) -> None:
    """Turn raw files into a prepared dataset. Interrupted? The same command goes on.

    Examples: `hsray prepare hyko2 ~/raw/hyko2` · `hsray prepare field.toml --data /data/hsi`
    """
    from hsray.commands import prepare_dataset

    prepare_dataset(source, raw, data, name=name, nan=nan.value, overwrite=overwrite)


@app.command()
def inspect(
    dataset: Annotated[str, typer.Argument(help="Name under the data folder, or a path.")],
    data: Data = DATA,
    picture: Annotated[
        Path | None, typer.Option(callback=_picture, help="Where to write pseudo-RGB beside labels (PNG).")
    ] = None,
) -> None:
    """Print bands, wavelengths, splits and class shares of a prepared dataset; write a picture of it.

    Example: `hsray inspect indian-pines --picture indian-pines.png`
    """
    from hsray.commands import inspect_dataset

    inspect_dataset(dataset, data, picture)


@app.command()
def pretrain(
    recipe: Annotated[Path, typer.Argument(help="YAML file of sources, model and schedule.")],
    out: Annotated[Path, typer.Option(help="Weights to write; metadata and model card lie beside them.")],
    data: Annotated[
        Path, typer.Option("--data", help="Folder of the recipe's files and of its prepared datasets.")
    ] = DATA,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that share every batch (Ray Train); else the recipe's.")
    ] = None,
    tracking_uri: Uri = URI,
) -> None:
    """Pretrain a spectral encoder on spectra of many sensors. Interrupted? The same command goes on.

    Example: `hsray pretrain experiments/pretrain-small.yaml --data spectra --out weights/mine.safetensors`
    """
    from hsray.commands import pretrain_encoder

    pretrain_encoder(recipe, data, out, tracking_uri, workers)


@app.command()
def train(
    dataset: Annotated[str, typer.Argument(help="Name under the data folder, or a path.")],
    strategy: Annotated[str, typer.Argument(help="Name of a strategy.")],
    out: Annotated[Path, typer.Option(help="Folder for log, checkpoint, weights and confusion matrices.")],
    data: Data = DATA,
    task: Annotated[Task, typer.Option(help="Whole images, or every spectrum alone.")] = Task.segmentation,
    fraction: Annotated[str, typer.Option(help="Share of the training images, or official:PERCENT.")] = "1.0",
    seed: Annotated[int, typer.Option(min=0, help="Of weights, order and subset.")] = 0,
    set_: Annotated[list[str] | None, typer.Option("--set", help="A hyperparameter, as key=value; repeatable.")] = None,
) -> None:
    """Train one configuration, without a sweep, and read the test set once.

    Example: `hsray train indian-pines runet --out runs/one --set epochs=20 --set decoder.width=16`
    """
    from hsray.commands import train_once

    train_once(dataset, strategy, out, data, task.value, fraction, seed, set_ or [])


Strategy = Annotated[str | None, typer.Option(help="Strategy of an authors' checkpoint; runs of hsray know theirs.")]
MaybeTask = Annotated[Task | None, typer.Option(help="Of the authors' checkpoint; left out: as its decoder takes.")]
Recipe = Annotated[list[str] | None, typer.Option("--set", help="An option of the strategy, key=value; repeatable.")]


@app.command()
def evaluate(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder, its best.safetensors, or the authors' .ckpt.")],
    dataset: Annotated[str, typer.Argument(help="Name under the data folder, or a path.")],
    strategy: Strategy = None,
    split: Annotated[str, typer.Option(help="train, val or test.")] = "test",
    task: MaybeTask = None,
    set_: Recipe = None,
    data: Data = DATA,
) -> None:
    """Score a checkpoint on a prepared dataset, beside the published figures where there are any.

    Examples: `hsray evaluate runs/one hyko2` · `hsray evaluate hyko2-unet.ckpt hyko2 --strategy unet`
    """
    from hsray.commands import evaluate_checkpoint

    evaluate_checkpoint(
        checkpoint, dataset, data, strategy=strategy, split=split, task=task.value if task else None,
        settings=set_ or [],
    )  # fmt: skip


@app.command()
def predict(
    checkpoint: Annotated[Path, typer.Argument(help="A run's folder, its best.safetensors, or the authors' .ckpt.")],
    source: Annotated[str, typer.Argument(metavar="INPUT", help="A folder of cubes, one cube, or a prepared dataset.")],
    out: Annotated[Path, typer.Option(help="Folder for label maps and overlays.")],
    strategy: Strategy = None,
    like: Annotated[str | None, typer.Option(help="Prepared dataset whose classes and bands the cubes have.")] = None,
    split: Annotated[str, typer.Option(help="Of a prepared dataset: train, val or test.")] = "test",
    key: Annotated[str | None, typer.Option(help="Array of a .mat, .npz or .h5 file that is the cube.")] = None,
    task: MaybeTask = None,
    set_: Recipe = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace files that are there.")] = False,
    data: Data = DATA,
) -> None:
    """Write label maps (palette PNG and .npy of class ids) and coloured overlays of cubes.

    Examples: `hsray predict runs/one drive/cubes --out maps` · `hsray predict runs/one hyko2 --split val --out maps`
    """
    from hsray.commands import predict_cubes

    predict_cubes(
        checkpoint, source, out, data, strategy=strategy, like=like, split=split, key=key,
        task=task.value if task else None, settings=set_ or [], overwrite=overwrite,
    )  # fmt: skip


@app.command()
def plan(experiment: Experiment, data: Data = DATA, runs: Runs = RUNS, smoke: Smoke = False) -> None:
    """Print the cells of an experiment and what each still needs, or all its problems. Nothing is written.

    Example: `hsray plan experiments/demo.yaml`
    """
    from hsray.commands import print_plan

    print_plan(experiment, data, runs, smoke=smoke)


@app.command()
def sweep(
    experiment: Experiment, data: Data = DATA, runs: Runs = RUNS, tracking_uri: Uri = URI, smoke: Smoke = False
) -> None:
    """Run an experiment: tune every cell, train the winners under each seed. The same command again goes on.

    On a cluster, set `RAY_ADDRESS` and `MLFLOW_TRACKING_URI`, with `--data` and `--runs` on a shared file system.

    Example: `hsray sweep experiments/demo.yaml`
    """
    from hsray.commands import run_sweep

    run_sweep(experiment, data, runs, tracking_uri, smoke=smoke)


@app.command()
def leaderboard(
    experiment: Annotated[str, typer.Argument(help="The sweep's name, which is its MLflow experiment's.")],
    tracking_uri: Uri = URI,
    format: Annotated[Format, typer.Option("--format", help="How the table is printed.")] = Format.table,
    against: Annotated[Against | None, typer.Option(help="Add columns ours, published, difference.")] = None,
    picture: Annotated[
        Path | None, typer.Option(callback=_picture, help="Write scores by fraction and predictions (PNG).")
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
    from hsray.commands import print_features

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
    from hsray.commands import delete_kept_features

    delete_kept_features(data, names or [], unused_for, everything=everything, yes=yes)


@app.command()
def demo(
    data: Data = DATA,
    runs: Runs = RUNS,
    tracking_uri: Uri = URI,
    picture: Annotated[Path, typer.Option(callback=_picture, help="Where to write the picture.")] = Path("demo.png"),
    quick: Annotated[bool, typer.Option("--quick", help="A reduced budget: shows that all works.")] = False,
) -> None:
    """Compare three ways of transfer on a real scene (Indian Pines), in minutes, on a laptop.

    Example: `hsray demo`
    """
    from hsray.demo import run_demo

    run_demo(data, runs, tracking_uri, picture, quick=quick)


def main() -> None:
    """Entry point: errors become a message and an exit code (1 = the work failed, 2 = the request was wrong)."""
    try:
        app(standalone_mode=True)
    except HsrayError as error:
        _print_error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _print_error("interrupted\n  do:    run the same command again: it goes on from here")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 (the last resort: a user never sees a traceback)
        log = Path("hsray-error.log").resolve()
        log.write_text(traceback.format_exc(), "utf-8")
        _print_error(
            f"this should not have happened: {type(error).__name__}: {error}\n  where: {log}\n"
            "  do:    please report it with that file"
        )
        sys.exit(1)


def _print_error(message: str) -> None:
    label = "\033[1;31merror:\033[0m" if sys.stderr.isatty() else "error:"
    print(f"{label} {message}", file=sys.stderr)


if __name__ == "__main__":
    main()
