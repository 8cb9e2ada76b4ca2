"""What a pretraining leaves behind: weights, their metadata, a model card and the picture of its loss."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from safetensors.torch import save

from hsray.models.hypersl import HyperSL
from hsray.strategies.spectra_sources import SpectraTable

WARNING = (
    "This is a small encoder from remote sensing and field spectra to an airborne scene, not yet remote to proximal."
)


def write_weights(
    out: Path,
    model: HyperSL,
    *,
    recipe: dict[str, Any],
    tables: list[SpectraTable],
    losses: list[float],
    seconds: float,
) -> None:
    """Write `<out>.safetensors`, `.png`, `.md` and, last, `.json`, each whole or not at all."""
    spare = HyperSL.spare_tensors
    tensors = {name: tensor.contiguous() for name, tensor in model.state_dict().items() if not name.startswith(spare)}
    content = save(tensors)
    metadata = {
        "encoder": "hypersl",
        "options": {key: recipe["encoder"][key] for key in ("width", "depth", "heads")},
        "family": "hyperspectral",
        "seen": [table.source.name for table in tables],
        "sensors": sorted({table.source.sensor for table in tables}),
        "spectra": sum(len(table.table_NL) for table in tables),
        "sources": [_source(table) for table in tables],
        "sha256": hashlib.sha256(content).hexdigest(),
        "seed": recipe["seed"],
        "seconds": round(seconds, 1),
        "parameters": sum(p.numel() for name, p in model.named_parameters() if not name.startswith(spare)),
        "loss": [[step, round(value, 6)] for step, value in _curve(losses)],
        "recipe": recipe,
        "note": WARNING,
    }
    _write(out.with_name(out.name + ".safetensors"), content)
    _picture(out.with_name(out.name + ".png"), losses)
    _write(out.with_name(out.name + ".md"), _card(out.name, metadata).encode())
    _write(out.with_name(out.name + ".json"), (json.dumps(metadata, indent=1) + "\n").encode())


def _source(table: SpectraTable) -> dict[str, Any]:
    source = table.source
    return {
        "name": source.name,
        "file": source.file,
        "sensor": source.sensor,
        "platform": source.platform,
        "terms": source.terms,
        "spectra": len(table.table_NL),
        "bands": len(table.wavelengths_L),
        "range_nm": [round(float(table.wavelengths_L[0]), 1), round(float(table.wavelengths_L[-1]), 1)],
        "weight": source.weight,
    }


def _curve(losses: list[float], points: int = 50) -> Iterable[tuple[int, float]]:
    """The mean loss of up to `points` stretches, each with the step at its end."""
    for part in np.array_split(np.arange(len(losses)), min(points, len(losses))):
        yield int(part[-1]) + 1, float(np.mean([losses[step] for step in part]))


def _card(name: str, metadata: dict[str, Any]) -> str:
    recipe, curve = metadata["recipe"], metadata["loss"]
    rows = "\n".join(
        f"| {one['name']} | {one['sensor']} | {one['platform']} | {one['spectra']:,} | {one['bands']} "
        f"| {one['range_nm'][0]:.0f}–{one['range_nm'][1]:.0f} | {one['weight']:g} | {one['terms']} |"
        for one in metadata["sources"]
    )
    low, high = recipe["grid"]["bands"]
    options = metadata["options"]
    return f"""# {name}

{metadata["note"]}

A spectral encoder of HyperSL's form (width {options["width"]}, depth {options["depth"]}, {options["heads"]} heads,
{metadata["parameters"]:,} parameters). It takes one spectrum, scaled to a maximum of 1, with the wavelengths of its
bands in nm, and gives {options["width"]} features. It saw no labels.

## Data

{metadata["spectra"]:,} spectra. Weight is a source's part in the batches.

| source | sensor | platform | spectra | bands | nm | weight | terms |
|---|---|---|---|---|---|---|---|
{rows}

## Recipe

Every batch draws spectra of all sources, each source on a random grid of {low} to {high} bands over a random
part of its range. Two spectra may be mixed; gain slope and noise change a little. {recipe["mask"]:.0%} of the bands
are hidden, and the loss is the squared error of those bands, plus {recipe["describe"]:g} times the squared error of
all bands decoded from the feature alone. Two things differ from the published HyperSL: there the convolutions in
front see the hidden bands, and there is no second term.

{recipe["steps"]:,} steps of {recipe["batch"]} spectra, AdamW, learning rate {recipe["lr"]:g} (warm-up, then cosine),
weight decay {recipe["weight_decay"]:g}, gradient norm at most {recipe["clip"]:g}, seed {recipe["seed"]},
{metadata["seconds"]:.0f} seconds. Mean loss of the first stretch {curve[0][1]:.5f}, of the last {curve[-1][1]:.5f}.

![loss over steps]({name}.png)

Weights: sha256 `{metadata["sha256"]}`. All figures and the whole recipe are in `{name}.json`.
"""


def _picture(path: Path, losses: list[float]) -> None:
    steps, values = zip(*_curve(losses, points=200), strict=True)
    figure = Figure(figsize=(5, 3), dpi=80, layout="constrained")
    axes = figure.subplots()
    axes.semilogy(steps, values)
    axes.set(xlabel="step", ylabel="loss")
    axes.grid(alpha=0.3)
    figure.savefig(path, format="png", metadata={"Software": None})


def _write(path: Path, content: bytes) -> None:
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(content)
    partial.replace(path)
