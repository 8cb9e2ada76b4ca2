"""A spectral encoder without depth: principal components of spectra from elsewhere, on the dataset's own bands.

What is learned in pretraining is how natural spectra vary. On the bands of any sensor that gives a covariance, and the
covariance a linear layer that evens out large and small variation. The layer may learn on, as any other.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models.registry import register_encoder

REACH_NM = 10.0  # a band so far beyond what a spectrum holds still takes its last value
SPECTRA, WAVELENGTHS = "spectra_NG", "wavelengths_G"


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
        self, in_channels: int, wavelengths_nm: Tensor | None, *, components: int = 40, power: float = 0.6
    ) -> None:
        super().__init__()
        if wavelengths_nm is None or wavelengths_nm.shape != (in_channels,):
            raise RequestError(
                "the encoder 'spectral-pca' needs the wavelength of every band, and the input has others or none",
                do="use a view that keeps the bands, of a dataset whose wavelengths are known",
            )
        if components < 1 or not 0 <= power <= 1:
            raise RequestError(
                f"{components} components to the power {power} cannot be taken",
                do="give at least one component and a power from 0 to 1",
            )
        self.power, self.nm_L = power, wavelengths_nm.double().cpu().numpy()
        self.out_channels = min(components, in_channels)
        self.projection = nn.Linear(in_channels, self.out_channels)

    def forward(self, spectra_BL: Tensor) -> Tensor:
        return self.projection(spectra_BL)

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """The pretraining's spectra (NaN where unknown) → the layer on this dataset's bands."""
        if SPECTRA not in tensors or WAVELENGTHS not in tensors:
            return tensors
        spectra_NL = self._on_bands(tensors[SPECTRA].double().numpy(), tensors[WAVELENGTHS].double().numpy())
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

    def _on_bands(self, spectra_NG: np.ndarray, nm_G: np.ndarray) -> np.ndarray:
        """Those spectra that hold all bands, each with maximum 1."""
        inside = (nm_G >= self.nm_L.min() - REACH_NM) & (nm_G <= self.nm_L.max() + REACH_NM)
        whole_N = np.isfinite(spectra_NG[:, inside]).all(axis=1)
        far = max(nm_G.min() - self.nm_L.min(), self.nm_L.max() - nm_G.max())
        if far > REACH_NM or whole_N.sum() < 2 * self.out_channels:
            raise RequestError(
                f"of the {len(whole_N)} spectra of the weights {0 if far > REACH_NM else whole_N.sum()} span "
                f"{self.nm_L.min():g} to {self.nm_L.max():g} nm",
                do="use other weights, or fewer components",
            )
        spectra_NL = np.stack([np.interp(self.nm_L, nm_G[inside], row) for row in spectra_NG[whole_N][:, inside]])
        return spectra_NL / spectra_NL.max(axis=1, keepdims=True).clip(1e-8)
