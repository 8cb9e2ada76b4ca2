"""The Indian Pines scene, which lies inside the wheel of `tensorly`: the demo's target."""

from __future__ import annotations

from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from hsray.datasets.own.description import Description, read_description
from hsray.errors import RequestError

NAME = "indian-pines"


def description() -> Description:
    """Return the description of the scene: classes, band centres, and its grid of blocks."""
    return read_description(Path(str(files("hsray.datasets.catalog"))) / f"{NAME}.toml")


def folder() -> Path:
    """Return the folder that holds the scene.

    Raises:
        RequestError: tensorly is not installed.
    """
    spec = find_spec("tensorly")  # found, not imported: only its data is wanted
    if spec is None or not spec.submodule_search_locations:
        raise RequestError(
            "The Indian Pines scene comes with the package tensorly, which is not installed",
            do='pip install "hsray[demo]"',
        )
    return Path(next(iter(spec.submodule_search_locations))) / "datasets" / "data"
