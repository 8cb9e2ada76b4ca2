"""The spectrum at a pixel, from the prepared dataset."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import streamlit as st

from hsray.errors import RequestError


@st.cache_resource(max_entries=8, show_spinner=False)
def store_of(data: str, dataset: str):
    from hsray.datasets import open_store

    return open_store(dataset, Path(data))


def spectrum_at(
    data: str, dataset: str, image: str | None, row: int, column: int, label: int
) -> tuple[str, pl.DataFrame]:
    """Whose pixel it is, in words, and its spectrum: wavelength (nm), value as stored; by wavelength.

    `image` is a test image, or None for the example that finals leave; `label` the class id there as the final has it.

    Raises:
        RequestError: the dataset is not there, or is not the one that the final was scored on.
    """
    from hsray.datasets.mosaic import pixel_of

    store = store_of(data, dataset)
    found = pixel_of(store, row, column) if image is None else ("test", image, row, column)
    if found is None:
        raise RequestError("the prepared dataset has nothing at this pixel")
    split, name, y, x = found
    there = int(np.asarray(store.labels_HW(split, name)[y, x]))
    if split == "test" and there != label:
        raise RequestError(
            "the prepared dataset is not the one that this final was scored on: its label here is another",
            where=f"{dataset} under {data}",
        )
    values = np.asarray(store.cube_HWC(split, name)[y, x], dtype=np.float64)
    frame = pl.DataFrame({"nm": store.wavelengths_nm, "value": values}).sort("nm")
    return f"{name} ({split}), row {y}, column {x}", frame
