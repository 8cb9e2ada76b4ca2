"""One pass of a frozen encoder over an image: batches, precision, and components where they are asked for."""

from __future__ import annotations

import shutil
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hsray.datasets import CubeStore
from hsray.errors import RequestError

SPECTRA_AT_ONCE = 2048
PCA_SPECTRA = 65_536
PROJECTION = "pca.npz"


@dataclass(frozen=True)
class Projection:
    """Features → their leading principal components: (x − mean_D) @ components_DK, the signs fixed."""

    mean_D: np.ndarray
    components_DK: np.ndarray


class FeaturesPass:
    """cube_HWC → its features (H, W, D) in the dtype that they are kept in.

    Features kept in float16 are computed in bfloat16 on a GPU (within 1e-2 of float32); else all is float32. On a GPU
    an encoder that offers `accelerate()` is compiled, where there is a compiler.
    """

    def __init__(self, view: nn.Module, model: Any, device: torch.device, dtype: str) -> None:
        self._view, self._model = view.eval().to(device), model.eval().to(device)
        self._device, self._dtype = device, np.dtype(dtype)
        self._half = device.type == "cuda" and dtype == "float16"
        batch = model.batch_size(device) if hasattr(model, "batch_size") else 0
        self._at_once = max(SPECTRA_AT_ONCE, batch)
        self.projection: Projection | None = None
        if device.type == "cuda" and hasattr(model, "accelerate"):
            if any(map(shutil.which, ("cc", "gcc", "clang"))):
                model.accelerate()
            else:
                warnings.warn("there is no C compiler: the encoder is not compiled and runs slower", stacklevel=2)

    def image(self, cube_HWC: np.ndarray) -> np.ndarray:
        """Raises RequestError where the dtype cannot hold the features."""
        height, width, bands = cube_HWC.shape
        parts = []
        for features_ND in self._features(np.asarray(cube_HWC).reshape(-1, bands)):
            if self.projection is not None:
                features_ND = (features_ND - self.projection.mean_D) @ self.projection.components_DK
            largest = float(np.abs(features_ND).max(initial=0))
            if not largest < np.finfo(self._dtype).max:
                raise RequestError(
                    f"features reach {largest:.3g}, which {self._dtype} cannot hold",
                    do="check the weights and the scale of the cubes; features.dtype float32 holds larger ones",
                )
            parts.append(features_ND.astype(self._dtype))
        return np.concatenate(parts).reshape(height, width, -1)

    def fit_pca(self, store: CubeStore, k: int) -> Projection:
        """The `k` leading components of the features of a fixed sample of spectra, evenly from all training images.

        All of them, whatever the fraction in use: no label is looked at, so every fraction and seed may share them, as
        it shares the encoder. A view's PCA, in contrast, is fitted on the images of the fraction.
        """
        random = np.random.default_rng(0)
        images = store.images("train")
        share = -(-PCA_SPECTRA // len(images))
        spectra = []
        for image in images:
            cube_NC = store.cube_HWC("train", image).reshape(-1, store.bands)
            places = random.choice(len(cube_NC), min(share, len(cube_NC)), replace=False)
            spectra.append(np.asarray(cube_NC[np.sort(places)]))
        features_ND = np.concatenate(list(self._features(np.concatenate(spectra)))).astype(np.float64)
        mean_D = features_ND.mean(axis=0)
        _, vectors_DD = np.linalg.eigh(np.cov(features_ND - mean_D, rowvar=False))
        leading_DK = vectors_DD[:, ::-1][:, :k]
        # The sign of an eigenvector is arbitrary: fix it, so that equal data give equal features.
        leading_DK = leading_DK * np.sign(leading_DK[np.abs(leading_DK).argmax(axis=0), np.arange(k)])
        return Projection(mean_D.astype(np.float32), leading_DK.astype(np.float32))

    @torch.inference_mode()
    def _features(self, spectra_NC: np.ndarray) -> Iterator[np.ndarray]:
        for start in range(0, len(spectra_NC), self._at_once):
            part_NC = np.array(spectra_NC[start : start + self._at_once], dtype=np.float32)
            yield self._run(torch.from_numpy(part_NC).to(self._device)).float().cpu().numpy()

    def _run(self, spectra_NC: Tensor) -> Tensor:
        x_NC = self._view(spectra_NC)
        with torch.autocast(self._device.type, torch.bfloat16, enabled=self._half):
            return self._model(x_NC)


def load_projection(folder: Path, fit: Callable[[], Projection]) -> Projection:
    """The projection that lies in a folder of features, fitted and laid there where it is not.

    Kept, because features that go on after an interruption, maybe on another device, need the very same one.
    """
    path = folder / PROJECTION
    if not path.is_file():
        fitted = fit()
        unfinished = path.with_name(path.name + ".new")
        with unfinished.open("wb") as file:
            np.savez(file, mean_D=fitted.mean_D, components_DK=fitted.components_DK)
        unfinished.replace(path)
    with np.load(path) as arrays:
        return Projection(arrays["mean_D"], arrays["components_DK"])
