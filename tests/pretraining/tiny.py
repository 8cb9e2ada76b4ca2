"""A small pretraining: two tables of smooth spectra by different conventions, and a prepared store."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsray.pretraining.recipe import Recipe, Source
from tests.tiny import tiny_store

ORIGIN = {"sensor": "made up", "platform": "test", "terms": "none"}
ONE = Source(name="one", file="one.npz", spectra="spectra", wavelengths="nm", **ORIGIN)
TWO = Source(
    name="two",
    file="two.npz",
    spectra="x",
    wavelengths="um",
    unit="um",
    band_axis=1,
    good_bands="bbl",
    nodata=-32768,
    scale=1e-4,
    **ORIGIN,
)


def tiny_data(folder: Path) -> Path:
    """Spectra in nm; the same in µm with bad bands, holes, and bands on another axis; and a store of cubes."""
    random = np.random.default_rng(0)
    nm = np.linspace(380, 1020, 60)
    peaks = random.uniform(400, 1000, (200, 1))
    spectra = 0.1 + np.exp(-(((nm - peaks) / 120) ** 2))
    np.savez(folder / "one.npz", spectra=spectra.astype(np.float32), nm=nm)
    cube = (spectra.reshape(2, 10, 10, 60) * 1e4).astype(np.int16).transpose(0, 3, 1, 2)
    cube[:, 7] = -32768
    cube[0, 30:33, 2, 3] = -32768
    good = np.ones(60, dtype=int)
    good[7] = 0
    np.savez(folder / "two.npz", x=cube, um=nm / 1000, bbl=good)
    tiny_store(folder, "cubes", images={"train": 3, "val": 1, "test": 1}, bands=30)
    return folder


def recipe(**changes: object) -> Recipe:
    """A recipe of the two tables and the store with every part of the objective."""
    values: dict[str, object] = {
        "name": "tiny",
        "sources": [ONE.model_dump(), TWO.model_dump()],
        "stores": [{"name": "cubes", "terms": "simulated"}],
        "encoder": {"width": 16, "depth": 2, "heads": 2, "decoder_depth": 1},
        "grid": {"bands": (12, 20), "range_nm": (400, 1000), "shortest_nm": 150},
        "augmentation": {"light": 0.5, "lamps": 0.5},
        "objective": {"contrast": 0.1, "isometry": 0.5, "pool": 64},
        "steps": 24,
        "batch": 16,
        "checkpoint_every": 10,
    }
    return Recipe.model_validate(values | changes)
