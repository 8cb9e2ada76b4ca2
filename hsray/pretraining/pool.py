"""Pretraining of the encoder `spectral-pca`: spectra of all sources, in their shares, on one fine grid."""

from __future__ import annotations

import torch
from torch import Tensor

from hsray.errors import RequestError
from hsray.pretraining.recipe import PCAShape, Recipe
from hsray.pretraining.spectra import Spectra, on_grid


def collect(recipe: Recipe, shape: PCAShape, spectra: list[Spectra]) -> tuple[Tensor, Tensor]:
    """spectra_NG of all steps (float16, maximum 1, NaN where a source holds nothing) and wavelengths_G in nm (float64).

    Mixtures are of one source. Raises RequestError where a source has nothing bright.
    """
    first, last = recipe.grid.range_nm
    nm_G = torch.arange(first, last + shape.spacing_nm / 2, shape.spacing_nm, dtype=torch.float64)
    random = torch.Generator().manual_seed(recipe.seed)
    weights = torch.tensor([one.origin.weight for one in spectra])
    picked = torch.multinomial(weights, recipe.steps * recipe.batch, replacement=True, generator=random)
    parts = []
    for one, count in zip(spectra, torch.bincount(picked, minlength=len(spectra)).tolist(), strict=True):
        held_G = (nm_G >= one.wavelengths_L[0]) & (nm_G <= one.wavelengths_L[-1])
        found_NG = on_grid(one, 4 * count, nm_G[held_G], random)[: 2 * count]
        if count and not len(found_NG):
            raise RequestError(f"{one.origin.name}: no spectrum is bright and whole", do="check the recipe's grid")
        found_NG = found_NG[torch.arange(2 * count) % max(1, len(found_NG))]
        share_N1 = torch.rand(count, 1, generator=random)
        mixed_N1 = torch.rand(count, 1, generator=random) < recipe.augmentation.mixture
        mixture_NG = torch.lerp(found_NG[:count], found_NG[count:], torch.where(mixed_N1, share_N1, torch.zeros(())))
        part_NG = torch.full((count, len(nm_G)), torch.nan)
        part_NG[:, held_G] = mixture_NG / mixture_NG.amax(dim=1, keepdim=True)
        parts.append(part_NG)
    return torch.cat(parts).half(), nm_G
