"""Commands about one model: pretrain, train, evaluate, predict."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsray.cli.app import app
from hsray.cli.options import DATA, URI, Data, Task, Uri


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
    from hsray.commands.models import pretrain_encoder

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
    from hsray.commands.models import train_once

    train_once(dataset, strategy, out, data, task.value, fraction, seed, set_ or [])


Checkpoint = Annotated[
    str, typer.Argument(help="A run's folder (also in a store: s3://…), its best.safetensors, or the authors' .ckpt.")
]
Strategy = Annotated[str | None, typer.Option(help="Strategy of an authors' checkpoint; runs of hsray know theirs.")]
MaybeTask = Annotated[Task | None, typer.Option(help="Of the authors' checkpoint; left out: as its decoder takes.")]
Recipe = Annotated[list[str] | None, typer.Option("--set", help="An option of the strategy, key=value; repeatable.")]


@app.command()
def evaluate(
    checkpoint: Checkpoint,
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
    from hsray.commands.models import evaluate_checkpoint

    evaluate_checkpoint(
        checkpoint, dataset, data, strategy=strategy, split=split, task=task.value if task else None,
        settings=set_ or [],
    )  # fmt: skip


@app.command()
def predict(
    checkpoint: Checkpoint,
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
    from hsray.commands.models import predict_cubes

    predict_cubes(
        checkpoint, source, out, data, strategy=strategy, like=like, split=split, key=key,
        task=task.value if task else None, settings=set_ or [], overwrite=overwrite,
    )  # fmt: skip
