"""Pretraining of the encoder `spectral-pca`: how the spectra of all sources vary, on one fine grid."""

from __future__ import annotations

import torch
from torch import Tensor

from hsray.errors import RequestError
from hsray.models.spectral_pca import FACTOR, MEAN, WAVELENGTHS
from hsray.pretraining.recipe import PCAShape, Recipe
from hsray.pretraining.spectra import Spectra, on_grid


def variation(recipe: Recipe, shape: PCAShape, spectra: list[Spectra]) -> dict[str, Tensor]:
    """Mean (G,) and factor (R, G) of the covariance of the spectra of all steps, and wavelengths_G in nm.

    No spectrum is kept. Two wavelengths that no source holds together are taken to vary alone. Raises RequestError
    where a source has nothing bright, or a wavelength is in none.
    """
    spectra_NG, nm_G = _drawn(recipe, shape, spectra)
    known_NG = spectra_NG.isfinite().double()
    if not bool(known_NG.any(dim=0).all()):
        raise RequestError(
            f"no source holds {nm_G[~known_NG.any(dim=0)][0]:g} nm", do="narrow the recipe's grid.range_nm"
        )
    mean_G = spectra_NG.nanmean(dim=0)
    deviation_NG = (spectra_NG - mean_G).nan_to_num()
    covariance_GG = deviation_NG.T @ deviation_NG / (known_NG.T @ known_NG).clamp(min=1)
    # Pairs are known from different spectra, so that a few small eigenvalues may be below zero.
    values, vectors = torch.linalg.eigh(covariance_GG)
    values, vectors = values.flip(0)[: shape.rank].clamp(min=0), vectors.flip(1)[:, : shape.rank]
    return {MEAN: mean_G.float(), FACTOR: (vectors * values.sqrt()).T.float(), WAVELENGTHS: nm_G.float()}


def _drawn(recipe: Recipe, shape: PCAShape, spectra: list[Spectra]) -> tuple[Tensor, Tensor]:
    """spectra_NG (float64, maximum 1, NaN where a source holds nothing), mixed within a source, and wavelengths_G."""
    first, last = recipe.grid.range_nm
    nm_G = torch.arange(first, last + shape.spacing_nm / 2, shape.spacing_nm, dtype=torch.float64)
    random = torch.Generator().manual_seed(recipe.seed)
    weights = torch.tensor([one.origin.weight for one in spectra])
    picked = torch.multinomial(weights, recipe.steps * recipe.batch, replacement=True, generator=random)
    parts = []
    for one, count in zip(spectra, torch.bincount(picked, minlength=len(spectra)).tolist(), strict=True):
        held_G = (nm_G >= one.wavelengths_L[0]) & (nm_G <= one.wavelengths_L[-1])
        found_NG = on_grid(one, 4 * count, nm_G[held_G], random)[: 2 * count].double()
        if count and not len(found_NG):
            raise RequestError(f"{one.origin.name}: no spectrum is bright and whole", do="check the recipe's grid")
        found_NG = found_NG[torch.arange(2 * count) % max(1, len(found_NG))]
        share_N1 = torch.rand(count, 1, generator=random).double()
        mixed_N1 = torch.rand(count, 1, generator=random) < recipe.augmentation.mixture
        mixture_NG = torch.lerp(
            found_NG[:count], found_NG[count:], torch.where(mixed_N1, share_N1, torch.zeros((), dtype=torch.float64))
        )
        part_NG = torch.full((count, len(nm_G)), torch.nan, dtype=torch.float64)
        part_NG[:, held_G] = mixture_NG / mixture_NG.amax(dim=1, keepdim=True)
        parts.append(part_NG)
    return torch.cat(parts), nm_G
