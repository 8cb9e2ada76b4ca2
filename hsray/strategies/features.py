"""The feature cache: a frozen spectral encoder runs once over a dataset; what it gives is a cube store of its own.

The folder is keyed by data, view, weights, code version and dtype, so a hit is always right. It is written under a
lock, goes on where it was interrupted, and is shared by all trials of a node or of a shared file system.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock

from hsray.datasets import SPLITS, CubeStore
from hsray.datasets.views import fit_view
from hsray.datasets.writer import Plan, StoreWriter
from hsray.digest import digest
from hsray.errors import RequestError
from hsray.models import build_encoder, encoder
from hsray.strategies.strategy import Encoder, Strategy
from hsray.strategies.weights import load_weights, weights_sha256

CODE_VERSION = 2  # raise when the same weights would give other features
DTYPE = "float16"
SPECTRA_AT_ONCE = 2048
Progress = Callable[[int, int], None]


def is_cacheable(strategy: Strategy) -> bool:
    """A pretrained spectral encoder that is frozen and sees the bands themselves."""
    part = strategy.encoder
    if part is None or part.weights is None or strategy.adapter.kind != "frozen":
        return False
    if (
        strategy.stem is not None
        or strategy.view.kind != "bands"
        or getattr(encoder(part.name), "gives", None) != "vector"
    ):
        return False
    return _normalisation(strategy) in ("max", "none")  # the others depend on the training subset


def features_folder(store: CubeStore, strategy: Strategy, cache: Path) -> Path:
    """Where the features of this dataset under this encoder lie, whether or not they are there yet."""
    part, weights = _encoder(strategy)
    key = {
        "data": store.fingerprint,
        "view": _normalisation(strategy),
        "encoder": [part.name, part.options],
        "weights": weights_sha256(weights),
        "code": CODE_VERSION,
        "dtype": DTYPE,
    }
    return cache / f"{store.name}-{part.name}-{digest(key)}"


def ensure_features(
    store: CubeStore,
    strategy: Strategy,
    cache: Path,
    *,
    device: torch.device | None = None,
    progress: Progress = lambda done, total: None,
) -> CubeStore:
    """The features of every image as a cube store of `encoder.out_channels` channels; computed if not there.

    `progress(done, total)` counts images. `source` of the result holds the weights' description and the seconds.
    """
    folder = features_folder(store, strategy, cache)
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not folder.is_dir():
                # A run that computes its features must draw the same numbers afterwards as one that finds them.
                with torch.random.fork_rng():
                    _compute(store, strategy, folder, device, progress)
    return CubeStore(folder)


def features_bytes(store: CubeStore, strategy: Strategy) -> int:
    """Size on disk, stated before it is taken."""
    part, _ = _encoder(strategy)
    model: Any = build_encoder(part.name, store.bands, _nm(store), **part.options)
    pixels = sum(int(store.statistics(split).counts_N.sum()) for split in SPLITS)
    return pixels * int(model.out_channels) * np.dtype(DTYPE).itemsize


def images_done(folder: Path) -> int:
    """How many images of features that are being computed are there already."""
    journals = folder.with_name(folder.name + ".partial").glob("*.journal")
    return sum(journal.read_bytes().count(b"\n") for journal in journals)


def _compute(store: CubeStore, strategy: Strategy, folder: Path, device, progress: Progress) -> None:
    started = time.monotonic()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    part, weights = _encoder(strategy)
    model: Any = build_encoder(part.name, store.bands, _nm(store), **part.options)
    info = load_weights(model, weights, part.sha256)
    view = fit_view(store, [], "bands", normalise=_normalisation(strategy)).layer
    network = torch.nn.Sequential(view, model).eval().to(device)
    plan = Plan(
        name=folder.name,
        classes=store.classes,
        ignore_id=store.ignore_id,
        wavelengths_nm=tuple(map(float, range(int(model.out_channels)))),  # channels have no wavelength: their number
        splits={split: store.images(split) for split in SPLITS},
        left_out=store.left_out,
        source={
            "features_of": store.name,
            "data": store.fingerprint,
            "weights": asdict(info),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        },
        one_pixel_images=all(h * w == 1 for s in SPLITS for h, w in store.statistics(s).shapes_N2),
    )
    writer = StoreWriter(folder, plan)
    total = sum(len(store.images(split)) for split in SPLITS)
    for split in SPLITS:
        for image in writer.todo(split):
            features_HWD = _image_features(network, store.cube_HWC(split, image), device)
            writer.write(split, image, features_HWD, store.labels_HW(split, image))
            progress(total - sum(len(writer.todo(s)) for s in SPLITS), total)
    writer.plan.source["seconds"] = time.monotonic() - started
    writer.finish()


@torch.inference_mode()
def _image_features(network: torch.nn.Module, cube_HWC: np.ndarray, device: torch.device) -> np.ndarray:
    height, width, bands = cube_HWC.shape
    spectra_NL = np.asarray(cube_HWC, dtype=np.float32).reshape(-1, bands)
    parts = [
        network(torch.from_numpy(spectra_NL[start : start + SPECTRA_AT_ONCE].copy()).to(device)).cpu().numpy()
        for start in range(0, len(spectra_NL), SPECTRA_AT_ONCE)
    ]
    features = np.concatenate(parts)
    largest = float(np.abs(features).max(initial=0))
    if not largest < np.finfo(DTYPE).max:
        raise RequestError(
            f"features reach {largest:.3g}, which {DTYPE} cannot hold",
            do="check the weights and the scale of the cubes",
        )
    return features.astype(DTYPE).reshape(height, width, -1)


def _encoder(strategy: Strategy) -> tuple[Encoder, str]:
    if strategy.encoder is None or strategy.encoder.weights is None:
        raise RequestError("there is no pretrained encoder to take features from", where=f"strategy {strategy.name}")
    return strategy.encoder, strategy.encoder.weights


def _normalisation(strategy: Strategy) -> str:
    part, _ = _encoder(strategy)
    return str(strategy.view.normalise or getattr(encoder(part.name), "normalise", "max"))


def _nm(store: CubeStore) -> torch.Tensor:
    return torch.as_tensor(store.wavelengths_nm, dtype=torch.float32)
