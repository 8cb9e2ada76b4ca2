"""A spectral encoder without depth: principal components of spectra from elsewhere, on the dataset's own bands.

What is learned in pretraining is how natural spectra vary. On the bands of any sensor that gives a covariance, and the
covariance a linear layer that evens out large and small variation. The layer may learn on, as any other.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models.checks import check_wavelengths
from hsray.models.registry import register_encoder

REACH_NM = 10.0  # a band so far beyond the weights' grid still takes the last value
DRAWN = 4096  # spectra; they tell the covariance where each is scaled to its maximum on the dataset's own bands
MEAN, FACTOR, WAVELENGTHS = "mean_G", "factor_RG", "wavelengths_G"


@register_encoder("spectral-pca")
class SpectralPCA(nn.Module):
    """spectra_BL → features_BD: D = `components`, or the number of bands where these are fewer.

    A component is divided by its deviation to the `power`: 0 keeps distances as they are, 1 whitens. Raises
    RequestError where the wavelengths are missing or do not fit the bands, or an option is out of range.
    """

    takes = "spectrum"
    gives = "vector"
    normalise = "max"  # the scaling its spectra have in pretraining
    adaptable = ("projection",)

    def __init__(
        self, in_channels: int, wavelengths_nm: Tensor | None, *, components: int = 40, power: float = 0.5
    ) -> None:
        super().__init__()
        self.nm_L = check_wavelengths(wavelengths_nm, in_channels, "the encoder 'spectral-pca'")
        if components < 1 or not 0 <= power <= 1:
            raise RequestError(
                f"{components} components to the power {power} cannot be taken",
                do="give at least one component and a power from 0 to 1",
            )
        self.power = power
        self.out_channels = min(components, in_channels)
        self.projection = nn.Linear(in_channels, self.out_channels)

    def forward(self, spectra_BL: Tensor) -> Tensor:
        return self.projection(spectra_BL)

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Mean and factor of the covariance (factorᵀ factor) on a fine grid → the layer on this dataset's bands."""
        if not {MEAN, FACTOR, WAVELENGTHS} <= tensors.keys():
            return tensors
        spectra_NL = self._drawn(*(tensors[name].double().numpy() for name in (MEAN, FACTOR, WAVELENGTHS)))
        mean_L = spectra_NL.mean(axis=0)
        values, vectors = np.linalg.eigh(np.cov(spectra_NL.T))
        values, vectors = values[::-1][: self.out_channels], vectors[:, ::-1][:, : self.out_channels]
        # Components far below the first are noise.
        weight_LD = vectors * (values.clip(0) + 1e-6 * values[0]) ** (-self.power / 2)
        weight_LD /= np.sqrt(((spectra_NL - mean_L) @ weight_LD).var(axis=0).mean())
        # Turned at random, all features vary alike: whoever standardises them later leaves the distances as they are.
        turn_DD = np.linalg.qr(np.random.default_rng(0).normal(size=(self.out_channels, self.out_channels)))[0]
        weight_LD = weight_LD @ turn_DD
        own = {"projection.weight": weight_LD.T, "projection.bias": -mean_L @ weight_LD}
        return {name: torch.tensor(np.ascontiguousarray(value), dtype=torch.float32) for name, value in own.items()}

    def _drawn(self, mean_G: np.ndarray, factor_RG: np.ndarray, nm_G: np.ndarray) -> np.ndarray:
        """Spectra of that mean and covariance on the dataset's bands, each with maximum 1."""
        nm_L = self.nm_L.double().cpu().numpy()
        low, high = float(nm_L.min()), float(nm_L.max())
        if low < nm_G[0] - REACH_NM or high > nm_G[-1] + REACH_NM:
            raise RequestError(
                f"the weights know spectra from {nm_G[0]:g} to {nm_G[-1]:g} nm; the dataset has {low:g} to {high:g} nm",
                do="use other weights",
            )
        rows_RL = np.stack([np.interp(nm_L, nm_G, row_G) for row_G in (mean_G, *factor_RG)])
        normal_NR = np.random.default_rng(0).normal(size=(DRAWN, len(factor_RG)))
        spectra_NL = (rows_RL[0] + normal_NR @ rows_RL[1:]).clip(0)
        return spectra_NL / spectra_NL.max(axis=1, keepdims=True).clip(1e-8)
