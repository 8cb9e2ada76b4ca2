"""What a pretraining leaves behind: weights, their metadata, a model card and the picture of its loss."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from safetensors.torch import save
from torch import Tensor

from hsray.pretraining.recipe import PCAShape, Recipe, Source
from hsray.pretraining.spectra import Spectra
from hsray.runlog import write_atomically

WARNING = "This is a small spectral encoder: it has seen thousands of spectra, where published ones have seen millions."


def write_weights(
    file: Callable[[str], Path],
    tensors: dict[str, Tensor],
    *,
    parameters: int,
    recipe: Recipe,
    spectra: list[Spectra],
    losses: list[float],
    seconds: float,
) -> None:
    """Write the files with suffix .png (where there are losses), .md, .json and, last, .safetensors, each whole or not
    at all; `file` gives their paths by suffix."""
    content = save({name: tensor.cpu().contiguous() for name, tensor in tensors.items()})
    metadata = {
        "encoder": recipe.encoder.name,
        "options": recipe.encoder.model_dump(include={"width", "depth", "heads", "components", "power"}),
        "family": "hyperspectral",
        "seen": [one.origin.name for one in spectra],
        "sensors": sorted({one.origin.sensor for one in spectra}),
        "spectra": sum(len(one) for one in spectra),
        "sources": [_source(one) for one in spectra],
        "sha256": hashlib.sha256(content).hexdigest(),
        "seed": recipe.seed,
        "seconds": round(seconds, 1),
        "parameters": parameters,
        "loss": [[step, round(value, 6)] for step, value in _curve(losses)],
        "recipe": recipe.model_dump(mode="json"),
        "note": WARNING,
    }
    name = file(".safetensors").stem
    if losses:
        _picture(file(".png"), losses)
    write_atomically(file(".md"), _card(name, metadata, recipe).encode())
    write_atomically(file(".json"), (json.dumps(metadata, indent=1) + "\n").encode())
    # The weights come last: where they are, the rest is too.
    write_atomically(file(".safetensors"), content)


def _source(spectra: Spectra) -> dict[str, Any]:
    origin = spectra.origin
    return {
        "name": origin.name,
        "file": origin.file if isinstance(origin, Source) else f"prepared dataset {origin.name}",
        "sensor": origin.sensor,
        "platform": origin.platform,
        "terms": origin.terms,
        "spectra": len(spectra),
        "bands": len(spectra.wavelengths_L),
        "range_nm": [round(float(spectra.wavelengths_L[0]), 1), round(float(spectra.wavelengths_L[-1]), 1)],
        "weight": origin.weight,
    }


def _curve(losses: list[float], points: int = 50) -> Iterable[tuple[int, float]]:
    """The mean loss of up to `points` stretches, each with the step at its end."""
    for part in np.array_split(np.arange(len(losses)), min(points, len(losses))) if losses else ():
        yield int(part[-1]) + 1, float(np.mean([losses[step] for step in part]))


def _card(name: str, metadata: dict[str, Any], recipe: Recipe) -> str:
    rows = "\n".join(
        f"| {one['name']} | {one['sensor']} | {one['platform']} | {one['spectra']:,} | {one['bands']} "
        f"| {one['range_nm'][0]:.0f}–{one['range_nm'][1]:.0f} | {one['weight']:g} | {one['terms']} |"
        for one in metadata["sources"]
    )
    form, how = (
        _varied(recipe, recipe.encoder) if isinstance(recipe.encoder, PCAShape) else _learned(name, metadata, recipe)
    )
    return f"""# {name}

{metadata["note"]}
It saw no labels.

{form}
It takes one spectrum, scaled to a maximum of 1, with the wavelengths of its bands in nm.

## Data

{metadata["spectra"]:,} spectra. Weight is a source's part in what is drawn.

| source | sensor | platform | spectra | bands | nm | weight | terms |
|---|---|---|---|---|---|---|---|
{rows}

## Recipe

{how}

Weights: sha256 `{metadata["sha256"]}`. All figures and the whole recipe are in `{name}.json`.
"""


def _varied(recipe: Recipe, shape: PCAShape) -> tuple[str, str]:
    first, last = recipe.grid.range_nm
    form = (
        "The encoder `spectral-pca`: a linear layer, computed for the bands of a dataset from how these spectra vary."
    )
    count, mixture = recipe.steps * recipe.batch, recipe.augmentation.mixture
    how = f"""{count:,} spectra were drawn on a grid from {first:g} to {last:g} nm, every {shape.spacing_nm:g} nm,
{mixture:.0%} of them mixed with a second one of the same source; seed {recipe.seed}. Their mean and a covariance of
rank {shape.rank} are the weights; no spectrum is among them. By default the encoder gives {shape.components}
principal components, each divided by its deviation to the power {shape.power:g}."""
    return form, how


def _learned(name: str, metadata: dict[str, Any], recipe: Recipe) -> tuple[str, str]:
    curve, options = metadata["loss"], metadata["options"]
    low, high = recipe.grid.bands
    form = (
        f"A spectral encoder of HyperSL's form (width {options['width']}, depth {options['depth']}, "
        f"{options['heads']} heads, {metadata['parameters']:,} parameters)."
    )
    how = f"""Every batch is drawn on a random grid of {low} to {high} bands within the range of one source, from all
sources that hold that grid{_focus(recipe)}.
{_changes(recipe)}

The loss is a weighted sum:

{_losses(recipe)}

{recipe.steps:,} steps of {recipe.batch} spectra, AdamW, learning rate {recipe.lr:g} (warm-up, then cosine),
weight decay {recipe.weight_decay:g}, gradient norm at most {recipe.clip:g}, seed {recipe.seed},
{metadata["seconds"]:.0f} seconds. Mean loss of the first stretch {curve[0][1]:.5f}, of the last {curve[-1][1]:.5f}.

![loss over steps]({name}.png)"""
    return form, how


def _focus(recipe: Recipe) -> str:
    low, high = recipe.grid.focus_nm
    return f"; {recipe.grid.focus:.0%} of the grids lie within {low:g}–{high:g} nm" if recipe.grid.focus else ""


def _changes(recipe: Recipe) -> str:
    change = recipe.augmentation
    said = [f"Two spectra are mixed in {change.mixture:.0%} of the cases."]
    if change.light:
        said.append(f"{change.light:.0%} are seen as radiance, under simulated skies and through simulated sensors.")
    said.append(f"The gain's slope varies by {change.slope:g}, noise reaches {change.noise:g} of the maximum.")
    return "\n".join(said)


def _losses(recipe: Recipe) -> str:
    part = recipe.objective
    terms = {
        f"{part.masked:g} × squared error of the {part.mask:.0%} of the bands that are hidden, predicted from the "
        "others. Unlike in the published HyperSL, hidden bands are hidden from the convolutions too.": part.masked,
        f"{part.describe:g} × squared error of all bands, decoded from the feature alone.": part.describe,
        f"{part.contrast:g} × NT-Xent of two views (temperature {part.temperature:g}).": part.contrast,
        f"{part.isometry:g} × isometry: distances between features are those between spectra, whose first "
        f"{part.components} principal components on the batch's grid are divided by their deviation to the power "
        f"{part.power:g}.": part.isometry,
    }
    return "\n".join(f"- {text}" for text, weight in terms.items() if weight)


def _picture(path: Path, losses: list[float]) -> None:
    steps, values = zip(*_curve(losses, points=200), strict=True)
    figure = Figure(figsize=(5, 3), dpi=80, layout="constrained")
    axes = figure.subplots()
    axes.semilogy(steps, values)
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    content = io.BytesIO()
    figure.savefig(content, format="png", metadata={"Software": None})
    write_atomically(path, content.getvalue())
