"""Cubes without labels, to predict: the files of a folder in any format that hsray reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np

from hsray.datasets.broken import open_npz, reading
from hsray.datasets.own.arrays import read_array
from hsray.datasets.raw import hcv2, mat
from hsray.errors import RequestError

SUFFIXES = (".npy", ".npz", ".mat", ".h5", ".hdf5", ".hdr", ".hsd")


def cube_files(path: Path, key: str | None = None) -> dict[str, Callable[[], np.ndarray]]:
    """Every cube of a folder (or of one file) by name, as a function that reads it: (H, W, C) or (C, H, W).

    A file's name without its suffix is the cube's; a .h5 file as the authors of HS3-Bench publish it holds many, each
    under its group's name. `key` says which array of a .mat, .npz or .h5 file is the cube, where there are several of
    three dimensions. `.hsd` cubes are halved, as the benchmark does.

    Raises:
        RequestError: there is no such file or folder, no file in it is a cube, two cubes have the same name, or a file
            cannot be read.
    """
    if not path.exists():
        raise RequestError(
            "there is no such input", where=str(path), do="give a folder of cubes, or a prepared dataset"
        )
    files = sorted(one for one in path.iterdir() if one.suffix.lower() in SUFFIXES) if path.is_dir() else [path]
    if not files:
        raise RequestError("this folder holds no cubes", where=str(path), do=f"hsray reads {', '.join(SUFFIXES)}")
    found: dict[str, Callable[[], np.ndarray]] = {}
    origin: dict[str, Path] = {}
    for file in files:
        for name, read in _cubes(file, key).items():
            if name in found:
                raise RequestError(
                    f"two cubes are called '{name}'", where=f"{origin[name]} and {file}", do="rename one"
                )
            found[name], origin[name] = read, file
    return found


def as_HWC(cube: np.ndarray, bands: int, where: str) -> np.ndarray:
    """The cube with its bands last.

    Raises:
        RequestError: it has other bands than `bands`, other than three dimensions, or values that are not finite.
    """
    if cube.ndim != 3 or bands not in (cube.shape[2], cube.shape[0]):
        raise RequestError(
            f"the model takes cubes of {bands} bands; this one has the shape {cube.shape}",
            where=where,
            do="give cubes (H, W, C) or (C, H, W) of the sensor that the model was trained for",
        )
    cube_HWC = cube if cube.shape[2] == bands else np.moveaxis(cube, 0, -1)
    if not np.issubdtype(cube_HWC.dtype, np.number) or not np.isfinite(cube_HWC).all():
        raise RequestError("the cube has values that are NaN, infinite or no numbers", where=where, do="mend the file")
    return cube_HWC


def _cubes(file: Path, key: str | None) -> dict[str, Callable[[], np.ndarray]]:
    match file.suffix.lower():
        case ".h5" | ".hdf5":
            return _in_hdf5(file, key)
        case ".npz":
            return {file.stem: lambda: _from_npz(file, key)}
        case ".mat":
            return {file.stem: lambda: mat.load(file, key or _only_3d(file, mat.variables(file)))}
        case ".hsd":
            return {file.stem: lambda: hcv2.read_cube(file)}
    return {file.stem: lambda: read_array(file)}


def _in_hdf5(file: Path, key: str | None) -> dict[str, Callable[[], np.ndarray]]:
    with reading(file), h5py.File(file, "r") as handle:
        groups = [name for name, item in handle.items() if isinstance(item, h5py.Group) and "image" in item]
        shapes = {name: item.shape for name, item in handle.items() if isinstance(item, h5py.Dataset)}
    if groups and key is None:
        return {name: lambda name=name: _from_hdf5(file, f"{name}/image") for name in groups}  # type: ignore[misc]
    return {file.stem: lambda: _from_hdf5(file, key or _only_3d(file, shapes))}


def _from_hdf5(file: Path, key: str) -> np.ndarray:
    with reading(file), h5py.File(file, "r") as handle:
        return np.asarray(handle[key])


def _from_npz(file: Path, key: str | None) -> np.ndarray:
    with reading(file), open_npz(file) as content:
        shapes = {name: content[name].shape for name in content}
        return content[key or _only_3d(file, shapes)]


def _only_3d(file: Path, shapes: dict[str, tuple[int, ...]]) -> str:
    cubes = [name for name, shape in shapes.items() if len(shape) == 3]
    if len(cubes) != 1:
        raise RequestError(
            f"this file holds {len(cubes)} arrays of three dimensions ({', '.join(shapes)})",
            where=str(file),
            do="name the cube's by --key",
        )
    return cubes[0]
