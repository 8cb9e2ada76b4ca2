"""A person's own data: a scene, a folder of images, or a table of spectra, described by a small TOML file."""

from pathlib import Path

from hsray.datasets.own.description import Description, Folder, Scene, Table, parse_description, read_description
from hsray.datasets.own.folder import folder_source
from hsray.datasets.own.scene import scene_source
from hsray.datasets.own.table import table_source
from hsray.datasets.source import Source

__all__ = ["Description", "own_source", "parse_description", "read_description"]


def own_source(description: Description, folder: Path) -> Source:
    """Return the source of a description whose paths are relative to `folder`.

    Raises:
        RequestError: files are missing or broken, or do not agree with each other or with the description.
    """
    match description:
        case Scene():
            return scene_source(description, folder)
        case Folder():
            return folder_source(description, folder)
        case Table():
            return table_source(description, folder)
