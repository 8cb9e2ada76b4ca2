"""Views: what a model sees of a cube. Channels are chosen when reading; projection and scaling run on the device.

The scaling is part of the model (buffers of the view layer), so a checkpoint carries it and nothing else repeats it.
It is fitted on the training images of the fraction and seed in use, from statistics stored at preparation.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hsray.datasets.pseudorgb import rgb_bands
from hsray.datasets.store import CubeStore
from hsray.errors import RequestError

NORMALISATIONS = ("standard", "max", "unit", "none", "hs3bench")


class ViewLayer(nn.Module):
    """Raw channels → view channels: (x − mean) @ projection, then per-spectrum scaling if asked. Shapes (B, C, ...)."""

    mean_C: Tensor
    projection_CK: Tensor

    def __init__(self, mean_C: np.ndarray, projection_CK: np.ndarray, normalise: str) -> None:
        super().__init__()
        self.register_buffer("mean_C", torch.as_tensor(mean_C, dtype=torch.float32))
        self.register_buffer("projection_CK", torch.as_tensor(projection_CK, dtype=torch.float32))
        self.normalise = normalise
        self.diagonal = projection_CK.ndim == 1

    def forward(self, raw_BC: Tensor) -> Tensor:
        trailing = (1,) * (raw_BC.ndim - 2)
        if self.normalise == "max":
            # Illumination falls out; the encoder's pretraining scales its spectra in the same way.
            positive = raw_BC.clamp_min(0)
            return positive / positive.amax(dim=1, keepdim=True).clamp_min(1e-8)
        centred = raw_BC - self.mean_C.view(1, -1, *trailing)
        if self.diagonal:
            view_BK = centred * self.projection_CK.view(1, -1, *trailing)
        else:
            view_BK = torch.einsum("bc...,ck->bk...", centred, self.projection_CK)
        # 'unit': an RGB-like range around one half, for encoders that expect pictures.
        return (0.5 + 0.25 * view_BK).clamp(0, 1) if self.normalise == "unit" else view_BK


@dataclass(frozen=True)
class View:
    """Which raw channels to read (None = all), the layer that follows, and what comes out."""

    channels: list[int] | None
    layer: ViewLayer
    out_channels: int
    wavelengths_nm: np.ndarray | None


def subset_moments(store: CubeStore, subset: list[int]) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance (C,) over all pixels of these training images, from the stored statistics."""
    statistics = store.statistics("train")
    weights = statistics.counts_N[subset] / statistics.counts_N[subset].sum()
    means = statistics.means_NC[subset]
    mean = weights @ means
    return mean, weights @ (statistics.variances_NC[subset] + (means - mean) ** 2)


def subset_covariance(store: CubeStore, subset: list[int]) -> np.ndarray:
    """Covariance (C, C) over all pixels of these training images."""
    statistics = store.statistics("train")
    weights = statistics.counts_N[subset] / statistics.counts_N[subset].sum()
    spread = statistics.means_NC[subset] - weights @ statistics.means_NC[subset]
    within = np.tensordot(weights, statistics.covariances_NCC[subset].astype(np.float64), axes=1)
    return within + (spread * weights[:, None]).T @ spread


def fit_view(store: CubeStore, subset: list[int], kind: str, *, k: int = 3, normalise: str = "standard") -> View:
    """Fit a view on the training images `subset` (indices into `store.images("train")`).

    Kinds: `bands` (all), `pseudo-rgb` (three bands by wavelength), `pca` (k whitened principal components), `mean`
    (over the bands, one channel).

    Normalisations: `standard` (zero mean, unit deviation a channel), `unit` (that as an RGB-like range around one
    half), `max` (every spectrum by its own maximum), `none`, and `hs3bench`: what the authors of HS3-Bench and of the
    transfer study feed their models, the stored values themselves, those of 8 bits divided by 255 (their
    `normalize: False` behind torchvision's ToTensor). Their principal components are of each image alone, which is no
    view of ours. On HCV2 they also round the values to float16.
    """
    if kind == "pca" and normalise == "hs3bench":
        raise RequestError(
            "the study takes the principal components of each image alone; this view takes those of the training set",
            where=f"view.normalise, dataset {store.name}",
            do="use the view 'bands', 'pseudo-rgb' or 'mean' for the authors' checkpoints",
        )
    if kind in ("pca", "mean") and normalise in ("max", "none"):
        raise RequestError(
            f"the view '{kind}' is whitened; '{normalise}' cannot be applied to it",
            where=f"view.normalise, dataset {store.name}",
            do="leave normalise out, or use the view 'bands'",
        )
    channels = list(rgb_bands(store.wavelengths_nm)) if kind == "pseudo-rgb" else None
    nm = store.wavelengths_nm if kind == "bands" else None
    count = len(channels) if channels else store.bands
    if normalise in ("max", "none"):
        return View(channels, ViewLayer(np.zeros(count), np.ones(count), normalise), count, nm)
    if normalise == "hs3bench":
        scale = 1 / 255 if store.cube_dtype == np.uint8 else 1.0
        if kind == "mean":
            layer = ViewLayer(np.zeros(store.bands), np.full((store.bands, 1), scale / store.bands), normalise)
            return View(None, layer, 1, None)
        return View(channels, ViewLayer(np.zeros(count), np.full(count, scale), normalise), count, nm)
    mean, variance = subset_moments(store, subset)
    if kind == "mean":
        # The mean over bands is a projection like any other; its deviation follows from the covariance.
        deviation = np.sqrt(max(float(subset_covariance(store, subset).mean()), 1e-12))
        return View(None, ViewLayer(mean, np.full((store.bands, 1), 1 / store.bands / deviation), normalise), 1, None)
    if kind == "pca":
        if not 1 <= k <= store.bands:
            raise RequestError(
                f"{k} principal components cannot be taken from {store.bands} bands",
                where=f"view.k, dataset {store.name}",
                do=f"choose 1 to {store.bands}",
            )
        values, vectors = np.linalg.eigh(subset_covariance(store, subset))
        leading = vectors[:, ::-1][:, :k]
        # The sign of an eigenvector is arbitrary: fix it, so that equal data give equal views.
        leading = leading * np.sign(leading[np.abs(leading).argmax(axis=0), np.arange(k)])
        projection = leading / np.sqrt(np.maximum(values[::-1][:k], 1e-12))
        return View(None, ViewLayer(mean, projection, normalise), k, None)
    if channels:
        mean, variance = mean[channels], variance[channels]
    scale_C = 1 / np.sqrt(np.maximum(variance, 1e-12))
    return View(channels, ViewLayer(mean, scale_C, normalise), count, nm)
