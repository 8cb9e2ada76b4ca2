"""Wavelengths and classes of a person's dataset: as described, else as found in the data."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsray.datasets import catalog
from hsray.datasets.classes import Named
from hsray.datasets.own.description import Description, Spread
from hsray.datasets.own.text import read_text
from hsray.errors import RequestError


def wavelengths_nm(
    description: Description, folder: Path, bands: int, found: tuple[float, ...] | None
) -> tuple[float, ...]:
    """Return the wavelengths that the description gives, else those `found` in the data.

    Raises:
        RequestError: there are none, they are no wavelengths, or the file that should hold them does not.
    """
    where = f"dataset {description.name}, wavelengths"
    match description.wavelengths:
        case list() as given:
            values = tuple(given)
        case Spread() as spread:
            values = tuple(np.linspace(spread.first, spread.last, bands).tolist())
        case str() as name:
            values, where = _from_csv(folder / name), str(folder / name)
        case None if found is not None:
            values = found
        case None:
            raise RequestError(
                "The wavelengths of the bands are not known",
                where=where,
                do="give a list in nm, a csv file, or {first = …, last = …} for bands spread evenly",
            )
    if not values or not np.isfinite(values).all() or min(values) < 100:
        raise RequestError(
            "The wavelengths must be numbers in nm, 100 or more", where=where, do="1 µm is 1000 nm; write 1000"
        )
    return values


def named_classes(description: Description, labels: np.ndarray) -> Named:
    """Return the classes by raw label as described; where none are, one for every label found."""
    match description.classes:
        case str() as name:
            scored = [info for info in catalog.find(name).classes if info.scored]
            return {info.id: (info.name, info.rgb) for info in scored if info.id not in description.ignore}
        case None:
            found = np.unique(labels).astype(int).tolist()
            return {raw: (f"class {raw}", None) for raw in found if raw not in description.ignore}
        case given:
            return {int(raw): (value, None) if isinstance(value, str) else value for raw, value in given.items()}


def _from_csv(path: Path) -> tuple[float, ...]:
    """Read the last cell of every line; a heading and a column of indices may stand before."""
    if not path.is_file():
        raise RequestError("The file of wavelengths is missing", where=str(path))
    values = []
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if cells := line.replace(",", " ").replace(";", " ").split():
            try:
                values.append(float(cells[-1]))
            except ValueError as error:
                if number > 1:
                    raise RequestError(f"Line {number} holds no wavelength: {line!r}", where=str(path)) from error
    return tuple(values)
