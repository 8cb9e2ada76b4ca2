"""Where the spectra of a batch come from: tables in memory, and prepared stores that are read as they are drawn."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from zipfile import BadZipFile

import numpy as np
import torch
from torch import Tensor

from hsray.datasets import CubeStore, open_store
from hsray.errors import RequestError
from hsray.pretraining.recipe import Grid, Origin, Recipe, Source, StoreSource

PIXELS_AN_IMAGE = 16  # drawn from an image before the next one is opened
DARK = 1e-3  # of the reflectance scale; what is below on all bands has no shape


class Spectra(Protocol):
    """Spectra of one sensor on ascending wavelengths_L (float64, nm)."""

    @property
    def origin(self) -> Origin:
        """What the recipe says of them."""
        ...

    @property
    def wavelengths_L(self) -> Tensor: ...

    def __len__(self) -> int:
        """How many there are."""
        ...

    def rows(self, count: int, random: torch.Generator) -> Tensor:
        """`count` random ones (count, L) float32; NaN where a spectrum holds nothing."""
        ...


@dataclass(frozen=True)
class SpectraTable:
    """A table_NL ≥ 0 in memory; NaN only at a spectrum's ends."""

    origin: Source
    table_NL: Tensor
    wavelengths_L: Tensor

    def __len__(self) -> int:
        return len(self.table_NL)

    def rows(self, count: int, random: torch.Generator) -> Tensor:
        return self.table_NL[torch.randint(len(self.table_NL), (count,), generator=random)]


class StoredSpectra:
    """The pixels of one split of a prepared store. Only the pixels that are drawn are read where it is mapped."""

    def __init__(self, origin: StoreSource, store: CubeStore) -> None:
        self.origin, self.store = origin, store
        self._names = store.images(origin.split)
        if not self._names:
            raise RequestError(f"{origin.name}: the split '{origin.split}' is empty", where=str(store.path))
        counts_N = torch.tensor([np.prod(store.shape_HWC(origin.split, name)[:2]) for name in self._names])
        self._counts_N = counts_N.double()
        # Some sensors have detectors that overlap: their wavelengths step back.
        self._channels = _ascending(store.wavelengths_nm)
        self.wavelengths_L = torch.from_numpy(store.wavelengths_nm[self._channels])
        statistics = store.statistics(origin.split)
        self._scale = max(float(np.abs(statistics.means_NC).max()), 1e-12)  # to about 1, whatever the unit

    def __len__(self) -> int:
        return int(self._counts_N.sum())

    def rows(self, count: int, random: torch.Generator) -> Tensor:
        images = torch.multinomial(self._counts_N, -(-count // PIXELS_AN_IMAGE), replacement=True, generator=random)
        found = []
        for number in images.tolist():
            cube_HWC = self.store.cube_HWC(self.origin.split, self._names[number])
            height, width, _ = cube_HWC.shape
            places = torch.randint(height * width, (PIXELS_AN_IMAGE,), generator=random).numpy()
            pixels_NC = np.asarray(cube_HWC[places // width, places % width], dtype=np.float32)
            found.append(pixels_NC[:, self._channels] / self._scale)
        return torch.from_numpy(np.concatenate(found)[:count]).clamp(min=0)


def open_spectra(recipe: Recipe, data: Path) -> list[Spectra]:
    """All sources of a recipe. Raises RequestError where one is missing or has nothing to give on the recipe's grid."""
    found: list[Spectra] = [read_table(source, data) for source in recipe.sources]
    found += [StoredSpectra(one, open_store(one.path or one.name, data)) for one in recipe.stores]
    for spectra in found:
        _check_range(spectra, recipe.grid)
    return found


def on_grid(spectra: Spectra, count: int, grid_L: Tensor, random: torch.Generator) -> Tensor:
    """Up to `count` spectra on grid_L (B, L), each with maximum 1: those that hold it whole and are not dark."""
    nm_L = spectra.wavelengths_L
    right = torch.searchsorted(nm_L, grid_L).clamp(1, len(nm_L) - 1)
    low, high = nm_L[right - 1], nm_L[right]
    share = ((grid_L - low) / (high - low)).clamp(0, 1).float()
    rows_BL = spectra.rows(count, random)
    drawn_BL = torch.lerp(rows_BL[:, right - 1], rows_BL[:, right], share)
    peak_B = drawn_BL.amax(dim=1)
    usable = torch.isfinite(drawn_BL).all(dim=1) & (peak_B > DARK)
    return drawn_BL[usable] / peak_B[usable].unsqueeze(1)


def read_table(source: Source, data: Path) -> SpectraTable:
    """Read one npz. Bands that are marked bad or hold nothing are dropped, gaps within a spectrum are bridged.

    Raises RequestError where the file or a key is missing, shapes do not fit, or nothing usable is left.
    """
    path = data / source.file
    arrays = _arrays(path, [key for key in (source.spectra, source.wavelengths, source.good_bands) if key])
    wavelengths_L = arrays[source.wavelengths].astype(np.float64) * (1000.0 if source.unit == "um" else 1.0)
    table_NL = np.moveaxis(arrays[source.spectra], source.band_axis, -1).astype(np.float32)
    table_NL = table_NL.reshape(-1, table_NL.shape[-1])
    if wavelengths_L.shape != table_NL.shape[1:]:
        raise RequestError(
            f"{source.name}: {table_NL.shape[1]} bands and {wavelengths_L.size} wavelengths do not fit",
            where=str(path),
            do="check `spectra`, `wavelengths` and `band_axis` in the recipe",
        )
    if source.nodata is not None:
        table_NL[table_NL == source.nodata] = np.nan
    table_NL[~np.isfinite(table_NL)] = np.nan
    keep_L = np.asarray(np.isfinite(table_NL).any(axis=0))
    if source.good_bands:
        keep_L &= arrays[source.good_bands].astype(bool)
    order = np.array([channel for channel in _ascending(wavelengths_L, keep_L)], dtype=int)
    wavelengths_L = wavelengths_L[order]
    table_NL = _bridged(np.clip(table_NL[:, order] * source.scale, 0, None), wavelengths_L)
    table_NL = table_NL[np.nan_to_num(table_NL).max(axis=1, initial=0) > 0]
    return SpectraTable(source, torch.from_numpy(table_NL), torch.from_numpy(wavelengths_L))


def _ascending(wavelengths_L: np.ndarray, keep_L: np.ndarray | None = None) -> np.ndarray:
    """Channels in the order of their wavelengths, none of which comes twice."""
    order = np.argsort(wavelengths_L, kind="stable")
    order = order if keep_L is None else order[keep_L[order]]
    return order[np.diff(wavelengths_L[order], prepend=-np.inf) > 0]


def _check_range(spectra: Spectra, grid: Grid) -> None:
    first, last = grid.range_nm
    inside = (spectra.wavelengths_L >= first) & (spectra.wavelengths_L <= last)
    if not len(spectra) or inside.sum() < 2:
        raise RequestError(
            f"{spectra.origin.name}: no usable spectra between {first:g} and {last:g} nm",
            where=f"recipe: {spectra.origin.name}",
            do="check the source's bands, `nodata` and `scale`, and the recipe's `grid.range_nm`",
        )


def _bridged(table_NL: np.ndarray, wavelengths_L: np.ndarray) -> np.ndarray:
    """Deleted channels inside a spectrum are interpolated; before its first and after its last they stay NaN."""
    for row in np.flatnonzero(np.isnan(table_NL).any(axis=1)):
        known = np.isfinite(table_NL[row])
        if known.sum() >= 2:
            table_NL[row] = np.interp(
                wavelengths_L, wavelengths_L[known], table_NL[row, known], left=np.nan, right=np.nan
            )
    return table_NL


def _arrays(path: Path, keys: list[str]) -> dict[str, np.ndarray]:
    if not path.is_file():
        raise RequestError("a source of spectra is not there", where=str(path), do="give the data folder with --data")
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [key for key in keys if key not in file]
            if missing:
                raise RequestError(
                    f"the file has no array {', '.join(missing)}; it has {', '.join(file.files)}",
                    where=str(path),
                    do="name its arrays in the recipe",
                )
            return {key: file[key] for key in keys}
    except (ValueError, OSError, EOFError, BadZipFile) as error:
        raise RequestError(f"the file cannot be read ({error})", where=str(path), do="fetch it again") from error
