"""The stream of batches. It has no epochs and no state: batch number n follows from the seed and n alone, so that a
run that goes on, or one with more workers, sees the same batches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from hsray.errors import RequestError
from hsray.pretraining.light import under_light
from hsray.pretraining.recipe import Augmentation, Grid, Recipe
from hsray.pretraining.spectra import Spectra, on_grid

REACH_NM = 1.0  # a source whose last band is so near a grid's end holds the grid
TRIES = 50


@dataclass(frozen=True)
class Batch:
    """Clean spectra, two noisy views of them, and the spectra that tell the natural variation on this grid."""

    clean_BL: Tensor
    view_BL: Tensor
    other_BL: Tensor
    nm_L: Tensor
    pool_PL: Tensor
    order_BL: Tensor  # a random order of the bands, for whoever hides some

    def part(self, rank: int, world: int) -> Batch:
        """One worker's spectra."""
        mine = slice(rank, None, world)
        return Batch(
            self.clean_BL[mine], self.view_BL[mine], self.other_BL[mine], self.nm_L, self.pool_PL, self.order_BL[mine]
        )


def draw_batch(recipe: Recipe, spectra: Sequence[Spectra], step: int) -> Batch:
    """The batch of one step. Raises RequestError where the sources have nothing bright on fifty grids in turn."""
    random = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    B = recipe.batch
    count = max(B, recipe.objective.pool) if recipe.objective.isometry else B
    for _ in range(TRIES):
        grid_L = draw_grid(spectra, recipe.grid, random)
        reflectance_NL = _drawn(spectra, 2 * count, grid_L, random)
        if len(reflectance_NL) >= 2:
            break
    else:
        raise RequestError("no source has bright, whole spectra on the grids", do="check the recipe's sources and grid")
    nm_L = grid_L.float()
    # Few usable ones come more than once.
    reflectance_NL = reflectance_NL[torch.arange(count) % len(reflectance_NL)]
    clean_NL = _changed(_mixed(reflectance_NL, recipe.augmentation.mixture, random), nm_L, recipe.augmentation, random)
    clean_BL = clean_NL[:B]
    return Batch(
        clean_BL,
        _noisy(clean_BL, recipe.augmentation, random),
        _noisy(_sloped(clean_BL, recipe.augmentation, random), recipe.augmentation, random),
        nm_L,
        clean_NL,
        torch.rand(clean_BL.shape, generator=random).argsort(dim=1),
    )


def draw_grid(spectra: Sequence[Spectra], grid: Grid, random: torch.Generator) -> Tensor:
    """Wavelengths (L,) float64: within what one source, drawn by its weight, has."""
    weights = torch.tensor([one.origin.weight for one in spectra])
    chosen = spectra[int(torch.multinomial(weights, 1, generator=random))]
    bands = int(torch.randint(grid.bands[0], grid.bands[1] + 1, (1,), generator=random))
    focus, whole, start, size = torch.rand(4, generator=random).tolist()
    ends = [grid.range_nm, (float(chosen.wavelengths_L[0]), float(chosen.wavelengths_L[-1]))]
    ends += [grid.focus_nm] if focus < grid.focus else []
    first, last = max(low for low, _ in ends), min(high for _, high in ends)
    if last <= first:  # the source has nothing in the focus
        first, last = max(low for low, _ in ends[:2]), min(high for _, high in ends[:2])
    # A third of the grids take the whole range; the others' lengths are spread evenly on a logarithmic scale.
    length = last - first
    if whole > 1 / 3:
        length = min(length, grid.shortest_nm) * max(1.0, length / grid.shortest_nm) ** size
    first += start * (last - first - length)
    spacing = length / (bands - 1)
    shift_L = (torch.rand(bands, generator=random, dtype=torch.float64) * 2 - 1) * grid.jitter * spacing
    return (torch.linspace(first, first + length, bands, dtype=torch.float64) + shift_L).clamp(first, first + length)


def _drawn(spectra: Sequence[Spectra], count: int, grid_L: Tensor, random: torch.Generator) -> Tensor:
    """About `count` spectra of all sources that hold the grid, in random order."""
    first, last = float(grid_L[0]) + REACH_NM, float(grid_L[-1]) - REACH_NM
    able = [one for one in spectra if one.wavelengths_L[0] <= first and one.wavelengths_L[-1] >= last]
    weights = torch.tensor([one.origin.weight for one in able])
    picked = torch.multinomial(weights, count, replacement=True, generator=random)
    counts = torch.bincount(picked, minlength=len(able)).tolist()
    found_NL = torch.cat([on_grid(one, n, grid_L, random) for one, n in zip(able, counts, strict=True) if n])
    return found_NL[torch.randperm(len(found_NL), generator=random)]


def _changed(spectra_NL: Tensor, nm_L: Tensor, change: Augmentation, random: torch.Generator) -> Tensor:
    spectra_NL = _sloped(spectra_NL, change, random)
    if not change.light:
        return spectra_NL
    lit_N1 = torch.rand(len(spectra_NL), 1, generator=random) < change.light
    return torch.where(lit_N1, under_light(spectra_NL, nm_L, change.lamps, random), spectra_NL)


def _mixed(spectra_NL: Tensor, chance: float, random: torch.Generator) -> Tensor:
    N = len(spectra_NL)
    share_N1 = torch.rand(N, 1, generator=random)
    share_N1 = torch.where(torch.rand(N, 1, generator=random) < chance, share_N1, torch.ones(()))
    return torch.lerp(spectra_NL[torch.randperm(N, generator=random)], spectra_NL, share_N1)


def _sloped(spectra_NL: Tensor, change: Augmentation, random: torch.Generator) -> Tensor:
    slope_N1 = torch.randn(len(spectra_NL), 1, generator=random) * change.slope
    gain_NL = (1 + slope_N1 * torch.linspace(-0.5, 0.5, spectra_NL.shape[1])).clamp(min=0.1)
    sloped_NL = spectra_NL * gain_NL
    return sloped_NL / sloped_NL.amax(dim=1, keepdim=True)


def _noisy(spectra_BL: Tensor, change: Augmentation, random: torch.Generator) -> Tensor:
    level_B1 = torch.rand(len(spectra_BL), 1, generator=random) * change.noise
    return (spectra_BL + level_B1 * torch.randn(spectra_BL.shape, generator=random)).clamp(0, 1)
