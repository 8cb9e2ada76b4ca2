"""Tables of spectra from many sensors, and batches drawn from them on random band grids, for pretraining."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from zipfile import BadZipFile

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor

from hsray.errors import RequestError


class Source(BaseModel):
    """One npz file of spectra, and where they come from."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    file: str  # relative to the data folder
    spectra: str  # the array's key
    wavelengths: str
    unit: Literal["nm", "um"] = "nm"
    band_axis: int = -1
    good_bands: str | None = None  # key of a band mask; bands with 0 are dropped
    nodata: float | None = None
    scale: float = Field(default=1.0, gt=0)  # to reflectance
    sensor: str
    platform: str
    terms: str
    weight: float = Field(default=1.0, gt=0)  # share of the batches


class Grid(BaseModel):
    """The random band grid of a batch: how many bands, over which part of the spectrum."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    bands: tuple[int, int] = (32, 96)
    range_nm: tuple[float, float] = (350.0, 2500.0)
    shortest_nm: float = Field(default=200.0, gt=0)  # the narrowest range drawn
    jitter: float = Field(default=0.3, ge=0, lt=0.5)  # of the spacing


class Augmentation(BaseModel):
    """Light changes of the spectra, as shares of their maximum."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mixture: float = Field(default=0.5, ge=0, le=1)  # share of spectra mixed with a second one
    slope: float = Field(default=0.1, ge=0)  # standard deviation of the gain's change over the range
    noise: float = Field(default=0.02, ge=0)  # largest standard deviation


@dataclass(frozen=True)
class SpectraTable:
    """The usable spectra of a source: table_NL ≥ 0 on ascending wavelengths_L in nm; NaN only at a spectrum's ends."""

    source: Source
    table_NL: Tensor
    wavelengths_L: Tensor

    def draw(self, count: int, bands: int, grid: Grid, random: torch.Generator) -> tuple[Tensor, Tensor]:
        """Up to `count` spectra (B, bands), each with maximum 1, on one random grid (bands,) in nm."""
        grid_L = self._grid(bands, grid, random)
        right = torch.searchsorted(self.wavelengths_L, grid_L).clamp(1, len(self.wavelengths_L) - 1)
        low, high = self.wavelengths_L[right - 1], self.wavelengths_L[right]
        share = ((grid_L - low) / (high - low)).float()
        # Twice as many as asked for, since some end before the grid does or are dark on it.
        rows = torch.randint(len(self.table_NL), (2 * count,), generator=random)
        table_NL = self.table_NL[rows]
        spectra_BL = torch.lerp(table_NL[:, right - 1], table_NL[:, right], share)
        peak_B = spectra_BL.amax(dim=1)
        usable = torch.isfinite(spectra_BL).all(dim=1) & (peak_B > 1e-3)
        return (spectra_BL[usable] / peak_B[usable].unsqueeze(1))[:count], grid_L

    def _grid(self, bands: int, grid: Grid, random: torch.Generator) -> Tensor:
        first = max(grid.range_nm[0], float(self.wavelengths_L[0]))
        last = min(grid.range_nm[1], float(self.wavelengths_L[-1]))
        whole, start, size = torch.rand(3, generator=random).tolist()
        # A third of the grids take the whole range; the others' lengths are spread evenly on a logarithmic scale.
        length = last - first
        if whole > 1 / 3:
            length = min(length, grid.shortest_nm) * max(1.0, length / grid.shortest_nm) ** size
        first += start * (last - first - length)
        spacing = length / (bands - 1)
        shift_L = (torch.rand(bands, generator=random, dtype=torch.float64) * 2 - 1) * grid.jitter * spacing
        grid_L = torch.linspace(first, first + length, bands, dtype=torch.float64) + shift_L
        return grid_L.clamp(first, first + length)


def read_source(source: Source, data: Path, grid: Grid) -> SpectraTable:
    """Read one source. Bands that are marked bad or hold nothing are dropped, gaps within a spectrum are bridged.

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
    order = np.argsort(wavelengths_L, kind="stable")
    order = order[keep_L[order]]
    order = order[np.diff(wavelengths_L[order], prepend=-np.inf) > 0]
    wavelengths_L = wavelengths_L[order]
    table_NL = _bridged(np.clip(table_NL[:, order] * source.scale, 0, None), wavelengths_L)
    table_NL = table_NL[np.nan_to_num(table_NL).max(axis=1, initial=0) > 0]
    inside = (wavelengths_L >= grid.range_nm[0]) & (wavelengths_L <= grid.range_nm[1])
    if not len(table_NL) or inside.sum() < 2:
        raise RequestError(
            f"{source.name}: no usable spectra between {grid.range_nm[0]:g} and {grid.range_nm[1]:g} nm",
            where=str(path),
            do="check the source's bands, `nodata` and `scale`, and the recipe's `grid.range_nm`",
        )
    return SpectraTable(source, torch.from_numpy(table_NL), torch.from_numpy(wavelengths_L))


def draw_batch(
    tables: list[SpectraTable], size: int, grid: Grid, change: Augmentation, random: torch.Generator
) -> tuple[Tensor, Tensor, Tensor]:
    """Noisy spectra, clean spectra and wavelengths, each (B, L): of every source a share, each on a grid of its own."""
    bands = int(torch.randint(grid.bands[0], grid.bands[1] + 1, (1,), generator=random))
    weights = torch.tensor([table.source.weight for table in tables])
    picked = torch.multinomial(weights, size, replacement=True, generator=random)
    spectra, wavelengths = [], []
    for number, count in enumerate(torch.bincount(picked, minlength=len(tables)).tolist()):
        if count:
            drawn_BL, grid_L = tables[number].draw(count, bands, grid, random)
            spectra.append(_mixed(drawn_BL, change.mixture, random))
            wavelengths.append(grid_L.expand(len(drawn_BL), -1))
    clean_BL = torch.cat(spectra)
    slope_B1 = torch.randn(len(clean_BL), 1, generator=random) * change.slope
    clean_BL = clean_BL * (1 + slope_B1 * torch.linspace(-0.5, 0.5, bands)).clamp(min=0.1)
    clean_BL = clean_BL / clean_BL.amax(dim=1, keepdim=True)
    level_B1 = torch.rand(len(clean_BL), 1, generator=random) * change.noise
    noisy_BL = (clean_BL + level_B1 * torch.randn(clean_BL.shape, generator=random)).clamp(0, 1)
    return noisy_BL, clean_BL, torch.cat(wavelengths)


def _mixed(spectra_BL: Tensor, chance: float, random: torch.Generator) -> Tensor:
    B = len(spectra_BL)
    share_B1 = torch.rand(B, 1, generator=random)
    share_B1 = torch.where(torch.rand(B, 1, generator=random) < chance, share_B1, torch.ones(()))
    return torch.lerp(spectra_BL[torch.randperm(B, generator=random)], spectra_BL, share_B1)


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
