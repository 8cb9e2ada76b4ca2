"""What the smoke variants run on: HS3-Bench in small, simulated, in its native raw formats; and untrained weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save_file

from hsray.datasets import catalog
from hsray.datasets.prepare import prepare
from hsray.datasets.raw import benchmark_source
from hsray.experiment import Experiment
from hsray.models import build_encoder
from hsray.strategies.strategy import Strategy, strategy
from tests.datasets.rawfiles import Images, small, write_hcv2, write_hsidrive, write_hyko2

SIZE = (20, 23)  # odd on purpose: nothing may rest on a multiple of the stride
RAW_IDS = {"hyko2": range(11), "hsidrive": range(11), "hcv2": [*range(19), 255]}
PREFIX = "weights:"


def prepare_benchmark(raw: Path, data: Path) -> None:
    """Write raw files of a few images of every dataset of HS3-Bench and prepare them as `hsray prepare` would."""
    for name in ("hyko2", "hsidrive", "hcv2"):
        known = small(name, train=4, val=2, test=2)
        scale = 2 if name == "hcv2" else 1  # its preparation halves the images
        images = _striped(known, list(RAW_IDS[name]), (scale * SIZE[0], scale * SIZE[1]))
        folder = raw / name
        if name == "hyko2":
            write_hyko2(folder, images)
        elif name == "hsidrive":
            write_hsidrive(folder, images)
        else:
            write_hcv2(folder, known, images)
        prepare(benchmark_source(known, folder), None, data)


def write_weights(experiment: Experiment, folder: Path) -> None:
    """Untrained weights under every name `weights:…` that the strategies of an experiment ask for."""
    folder.mkdir(parents=True, exist_ok=True)
    for request in experiment.axes["strategy"]:
        recipe = strategy(request)
        reference = recipe.encoder.weights if recipe.encoder is not None else None
        if reference is not None and reference.startswith(PREFIX):
            path = folder / reference.removeprefix(PREFIX)
            if not path.exists():
                _write(recipe, path)


def _write(recipe: Strategy, path: Path) -> None:
    assert recipe.encoder is not None
    # Weights of RGB models have three channels, whatever the encoder makes of them.
    options = {name: value for name, value in recipe.encoder.options.items() if name != "inflate"}
    model = build_encoder(recipe.encoder.name, 3, torch.linspace(450, 900, 3), **options)
    part = model.get_submodule(getattr(model, "pretrained_part", ""))
    tensors = {name: tensor.contiguous().clone() for name, tensor in part.state_dict().items()}
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)


def _striped(known: catalog.CatalogEntry, ids: list[int], shape: tuple[int, int]) -> Images:
    """Cubes whose spectra follow the class, in vertical stripes; every class stands in every image."""
    random = np.random.default_rng(5)
    nm = np.asarray(known.wavelengths_nm)
    spectra_KL = 0.5 + 0.3 * np.sin(nm / 90 + np.arange(len(ids))[:, None])
    images: Images = {}
    for split, names in known.splits.items():
        for name in names:
            index_HW = np.tile(random.permutation(np.arange(shape[1]) % len(ids)), (shape[0], 1))
            cube_HWC = spectra_KL[index_HW] + random.normal(0, 0.05, (*shape, len(nm)))
            images[split, name] = (cube_HWC.astype(np.float32), np.asarray(ids)[index_HW].astype(np.uint8))
    return images
