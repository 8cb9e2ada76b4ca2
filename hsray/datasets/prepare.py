"""From raw files to a cube store."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from hsray.datasets import catalog, indian_pines
from hsray.datasets.own import own_source, read_description
from hsray.datasets.raw import benchmark_source
from hsray.datasets.source import Source, check_sizes
from hsray.datasets.store import CubeStore
from hsray.datasets.writer import Plan, StoreWriter
from hsray.errors import RequestError, problems

Progress = Callable[[str, int, int], None]
NanPolicy = Literal["refuse", "zero", "drop-band"]
PROBLEMS_SHOWN = 20
KEPT_DTYPES = ("u1", "i1", "u2", "i2", "f2", "f4")
logger = logging.getLogger(__name__)


def prepare(
    source: str | Path | Source,
    raw: Path | None,
    data_root: Path,
    *,
    name: str | None = None,
    nan: NanPolicy = "refuse",
    overwrite: bool = False,
    progress: Progress | None = None,
) -> CubeStore:
    """Prepare a dataset of the catalogue (by name) or a person's own (by its TOML file) under `data_root`.

    `raw` is the folder of the raw files; by default that of the TOML file. Where cubes hold NaN or infinite values,
    `nan` says whether to refuse, to write zeros, or to drop the bands that hold them (the raw data is then read
    twice). `progress` is called with a stage ("check", "scan" or a split), images done and images in all. A
    preparation that was killed goes on when it is called again in the same way; a refused one leaves nothing.

    Raises:
        RequestError: the request or the raw data is not right; nothing was written.
    """
    if nan not in get_args(NanPolicy):
        raise RequestError(f"There is no policy {nan!r} for NaN", do=f"use one of {', '.join(get_args(NanPolicy))}")
    source = source if isinstance(source, Source) else _open(source, raw)
    target = data_root / (name or source.name)
    if target.parent != data_root or target.suffix == ".partial":
        raise RequestError(f"{target.name!r} cannot be a dataset's name", do="use letters, digits, - and _")
    if target.exists() and not overwrite:
        raise RequestError(
            "The output is there already", where=str(target), do="replace it with --overwrite, or give another --name"
        )
    shown = progress or (lambda stage, done, total: None)
    _survey(source, shown)
    kept = _bands_to_keep(source, shown) if nan == "drop-band" else np.ones(len(source.wavelengths_nm), dtype=bool)
    writer = StoreWriter(target, _plan(source, target.name, nan, kept), overwrite=overwrite)
    try:
        _write(source, writer, nan, kept, shown)
        writer.finish()
    except RequestError:
        writer.discard()
        raise
    finally:
        writer.close()
    return CubeStore(target.resolve())


def _open(source: str | Path, raw: Path | None) -> Source:
    path = Path(source)
    if str(source) == indian_pines.NAME:
        return own_source(indian_pines.description(), raw or indian_pines.folder())
    if path.suffix == ".toml":
        return own_source(read_description(path), raw or path.parent)
    known = catalog.find(str(source))
    if raw is None:
        raise RequestError(
            "The folder of raw files is not given",
            where=f"dataset {known.name}",
            do=f"get them from {known.url} and name their folder: `hsray prepare {known.name} FOLDER`",
        )
    return benchmark_source(known, raw)


def _images(source: Source) -> Iterator[tuple[str, str]]:
    return ((split, image) for split, images in source.splits.items() for image in images)


def _survey(source: Source, progress: Progress) -> None:
    total = sum(map(len, source.splits.values()))
    found: list[RequestError] = []
    for done, (split, image) in enumerate(_images(source), 1):
        try:
            source.survey(split, image)
        except RequestError as error:
            found.append(error)
        progress("check", done, total)
    _refuse(found)
    for reason in source.skipped.values():
        logger.warning("left out: %s", reason)
    empty = [split for split, images in source.splits.items() if all((split, i) in source.skipped for i in images)]
    if empty:
        raise RequestError(f"No image is left in {', '.join(empty)}", where=f"dataset {source.name}")


def _bands_to_keep(source: Source, progress: Progress) -> np.ndarray:
    kept = np.ones(len(source.wavelengths_nm), dtype=bool)
    total = sum(map(len, source.splits.values()))
    for done, (split, image) in enumerate(_images(source), 1):
        if (split, image) not in source.skipped:
            cube_HWC = _narrowed(source.read(split, image)[0], source.nodata)
            kept &= np.isfinite(cube_HWC).all(axis=(0, 1))
        progress("scan", done, total)
    if not kept.any():
        raise RequestError(
            "Every band holds NaN or infinite values", where=f"dataset {source.name}", do="use --nan zero"
        )
    return kept


def _plan(source: Source, name: str, nan: NanPolicy, kept: np.ndarray) -> Plan:
    wavelengths_nm = np.asarray(source.wavelengths_nm)
    return Plan(
        name=name,
        classes=source.classes,
        ignore_id=source.ignore_id,
        wavelengths_nm=tuple(wavelengths_nm[kept].tolist()),
        splits=source.splits,
        left_out=source.left_out,
        source={
            **source.origin,
            "nan": nan,
            "dropped_bands_nm": wavelengths_nm[~kept].tolist(),
            "skipped": {f"{split}/{image}": reason for (split, image), reason in source.skipped.items()},
        },
        one_pixel_images=source.one_pixel_images,
    )


def _write(source: Source, writer: StoreWriter, nan: NanPolicy, kept: np.ndarray, progress: Progress) -> None:
    """Write all images. After a first image that is not right, only look at the rest, to name all such images."""
    found: list[RequestError] = []
    for split, images in source.splits.items():
        todo, total = writer.todo(split), len(images)
        for done, image in enumerate(todo, total - len(todo) + 1):
            if (split, image) in source.skipped:
                writer.skip(split, image)
            else:
                try:
                    cube_HWC, labels_HW = _checked(source, split, image, nan, kept)
                    if not found:
                        writer.write(split, image, cube_HWC, labels_HW)
                except RequestError as error:
                    found.append(error)
            progress(split, done, total)
    _refuse(found)


def _checked(source: Source, split: str, image: str, nan: NanPolicy, kept: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    where = f"dataset {source.name}, split {split}, image {image}"
    cube_HWC, labels_HW = source.read(split, image)
    check_sizes(cube_HWC.shape, labels_HW.shape, len(kept), where)
    cube_HWC = _narrowed(cube_HWC, source.nodata)
    cube_HWC = cube_HWC if kept.all() else cube_HWC[..., kept]
    if np.issubdtype(cube_HWC.dtype, np.floating) and not (finite_HWC := np.isfinite(cube_HWC)).all():
        bands = int((~finite_HWC).any(axis=(0, 1)).sum())
        if nan != "zero":
            raise RequestError(
                f"The cube holds {int((~finite_HWC).sum())} values that are NaN or infinite, in {bands} of "
                f"{cube_HWC.shape[2]} bands",
                where=where,
                do="choose --nan zero or --nan drop-band, or mend the file",
            )
        cube_HWC = np.where(finite_HWC, cube_HWC, np.zeros((), cube_HWC.dtype))
    return cube_HWC, labels_HW


def _narrowed(cube_HWC: np.ndarray, nodata: float | None) -> np.ndarray:
    """Bring wide types to float32; small integers and half floats stay as they are. `nodata` becomes NaN."""
    dtype = cube_HWC.dtype
    kept = dtype.str[1:] in KEPT_DTYPES and (nodata is None or np.issubdtype(dtype, np.floating))
    with np.errstate(over="ignore"):  # what float32 cannot hold becomes infinite and is then named
        narrow_HWC = cube_HWC if kept else cube_HWC.astype(np.float32)
    if nodata is None:
        return narrow_HWC
    return np.where(cube_HWC == nodata, np.array(np.nan, narrow_HWC.dtype), narrow_HWC)


def _refuse(found: list[RequestError]) -> None:
    if not found:
        return
    shown = found[:PROBLEMS_SHOWN]
    if len(found) > PROBLEMS_SHOWN:
        shown.append(RequestError(f"and {len(found) - PROBLEMS_SHOWN} more of the kind"))
    raise problems(shown, "The raw data cannot be prepared")
