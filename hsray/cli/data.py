"""Commands about data: prepare, inspect."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hsray.cli.app import app
from hsray.cli.options import DATA, Data, Nan, picture_path


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
    from hsray.commands.data import prepare_dataset

    prepare_dataset(source, raw, data, name=name, nan=nan.value, overwrite=overwrite)


@app.command()
def inspect(
    dataset: Annotated[str, typer.Argument(help="Name under the data folder, or a path.")],
    data: Data = DATA,
    picture: Annotated[
        Path | None, typer.Option(callback=picture_path, help="Where to write pseudo-RGB beside labels (PNG).")
    ] = None,
) -> None:
    """Print bands, wavelengths, splits and class shares of a prepared dataset; write a picture of it.

    Example: `hsray inspect indian-pines --picture indian-pines.png`
    """
    from hsray.commands.data import inspect_dataset

    inspect_dataset(dataset, data, picture)
