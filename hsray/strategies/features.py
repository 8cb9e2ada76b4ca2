"""The feature cache: a frozen spectral encoder runs once over a dataset; what it gives is a cube store of its own.

The folder is keyed by data, view, weights, code version, dtype and PCA, so a hit is always right. It is written under
a lock, goes on where it was interrupted, and is shared by all trials of a node or of a shared file system. The lock is
`flock` on a file opened for writing: Linux carries it over NFS and the parallel file systems to the other nodes, and
the kernel lets go of it when a process or its node ends, so that no lock can be left behind.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
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
from hsray.strategies.features_pass import FeaturesPass, load_projection
from hsray.strategies.strategy import Encoder, Strategy
from hsray.strategies.weights import load_weights, weights_sha256

CODE_VERSION = 3  # raise when the same weights would give features that differ by more than float16 rounds
USED = "used"  # its time of change is when the features were last opened
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


def check_features(strategy: Strategy, channels: int | None) -> None:
    """Refuse what the cache cannot do: `channels` are the encoder's, None where there is no encoder."""
    k, where = strategy.features.pca, f"strategy {strategy.name}: features.pca"
    if k is not None and not is_cacheable(strategy):
        do = "freeze a pretrained spectral encoder (adapter: frozen), or leave features.pca out"
        raise RequestError("only a frozen encoder's features are kept, and so have components", where=where, do=do)
    if k is not None and channels is not None and k > channels:
        raise RequestError(f"{k} components cannot be taken from {channels} features", where=where, do="choose fewer")


def features_folder(store: CubeStore, strategy: Strategy, cache: Path) -> Path:
    """Where the features of this dataset under this encoder lie, whether or not they are there yet."""
    part, weights = _encoder(strategy)
    key = {
        "data": store.fingerprint,
        "view": _normalisation(strategy),
        "encoder": [part.name, part.options],
        "weights": weights_sha256(weights),
        "code": CODE_VERSION,
        "dtype": strategy.features.dtype,
    }
    if strategy.features.pca is not None:
        key["pca"] = strategy.features.pca
    return cache / f"{store.name}-{part.name}-{digest(key)}"


def ensure_features(
    store: CubeStore,
    strategy: Strategy,
    cache: Path,
    *,
    device: torch.device | None = None,
    progress: Progress = lambda done, total: None,
) -> CubeStore:
    """The features of every image as a cube store of one channel a feature or component; computed if not there.

    `progress(done, total)` counts images. `source` of the result holds the weights' description and the seconds.
    Raises RequestError where the disk has no room for them, or the weights do not fit.
    """
    folder = features_folder(store, strategy, cache)
    if not folder.is_dir():
        cache.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(folder.name + ".lock")):
            if not folder.is_dir():
                check_room(features_bytes(store, strategy) - bytes_done(folder), cache)
                # A run that computes its features must draw the same numbers afterwards as one that finds them.
                with torch.random.fork_rng():
                    _compute(store, strategy, folder, device, progress)
    with contextlib.suppress(PermissionError):  # a cache that others keep may be shared for reading alone
        (folder / USED).touch()
    return CubeStore(folder)


def features_bytes(store: CubeStore, strategy: Strategy) -> int:
    """Size on disk, stated before it is taken."""
    channels = kept_channels(strategy, store)
    pixel = channels * np.dtype(strategy.features.dtype).itemsize + 1  # and its label
    image = 0 if _one_pixel_images(store) else channels**2 * np.dtype(np.float32).itemsize  # its covariance
    counts = [store.statistics(split).counts_N for split in SPLITS]
    return sum(int(counts_N.sum()) * pixel + len(counts_N) * image for counts_N in counts)


def kept_channels(strategy: Strategy, store: CubeStore) -> int:
    """Channels of the features: the encoder's, or the components that are kept of them."""
    part, _ = _encoder(strategy)
    nm_L = _nm(store)
    with torch.device("meta"):  # no memory for weights that only have to be counted
        model: Any = build_encoder(part.name, store.bands, nm_L, **part.options)
    check_features(strategy, int(model.out_channels))
    return strategy.features.pca or int(model.out_channels)


def check_room(size: int, cache: Path) -> None:
    """Refuse to begin what the disk cannot hold. `cache` need not exist yet."""
    there = next(folder for folder in (cache, *cache.parents) if folder.exists())
    free = shutil.disk_usage(there).free
    if size > free:
        raise RequestError(
            f"the features take {size_text(size)}, and {size_text(free)} are free",
            where=str(cache),
            do="make room (`hsray features prune`), or keep fewer: features.dtype float16, features.pca",
        )


def size_text(size: float) -> str:
    """Bytes as people read them."""
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB" if size >= 1e5 else f"{size / 1e3:.3g} kB"


def bytes_done(folder: Path) -> int:
    """What features that are being computed take already."""
    return sum(path.stat().st_size for path in folder.with_name(folder.name + ".partial").glob("*.h5"))


def images_done(folder: Path) -> int:
    """How many images of features that are being computed are there already."""
    journals = folder.with_name(folder.name + ".partial").glob("*.journal")
    return sum(journal.read_bytes().count(b"\n") for journal in journals)


def _compute(store: CubeStore, strategy: Strategy, folder: Path, device, progress: Progress) -> None:
    started = time.monotonic()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    part, weights = _encoder(strategy)
    kept = strategy.features
    model: Any = build_encoder(part.name, store.bands, _nm(store), **part.options)
    info = load_weights(model, weights, part.sha256)
    view = fit_view(store, [], "bands", normalise=_normalisation(strategy)).layer
    network = FeaturesPass(view, model, device, kept.dtype)
    channels = kept.pca or int(model.out_channels)
    plan = Plan(
        name=folder.name,
        classes=store.classes,
        ignore_id=store.ignore_id,
        wavelengths_nm=tuple(map(float, range(channels))),  # channels have no wavelength: their number
        splits={split: store.images(split) for split in SPLITS},
        left_out=store.left_out,
        source={
            "features_of": store.name,
            "data": store.fingerprint,
            "encoder": part.name,
            "dtype": kept.dtype,
            "pca": kept.pca,
            "weights": asdict(info),
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
        },
        one_pixel_images=_one_pixel_images(store),
    )
    with contextlib.closing(StoreWriter(folder, plan)) as writer:
        _write(writer, store, network, kept.pca, progress)
        writer.plan.source["seconds"] = time.monotonic() - started
        writer.finish()


def _write(writer: StoreWriter, store: CubeStore, network: FeaturesPass, pca: int | None, progress: Progress) -> None:
    if pca is not None:
        network.projection = load_projection(writer.partial, partial(network.fit_pca, store, pca))
    total = sum(len(store.images(split)) for split in SPLITS)
    for split in SPLITS:
        for image in writer.todo(split):
            writer.write(split, image, network.image(store.cube_HWC(split, image)), store.labels_HW(split, image))
            progress(total - sum(len(writer.todo(s)) for s in SPLITS), total)


def _encoder(strategy: Strategy) -> tuple[Encoder, str]:
    if strategy.encoder is None or strategy.encoder.weights is None:
        raise RequestError("there is no pretrained encoder to take features from", where=f"strategy {strategy.name}")
    return strategy.encoder, strategy.encoder.weights


def _normalisation(strategy: Strategy) -> str:
    part, _ = _encoder(strategy)
    return str(strategy.view.normalise or getattr(encoder(part.name), "normalise", "standard"))


def _one_pixel_images(store: CubeStore) -> bool:
    return all(height * width == 1 for split in SPLITS for height, width in store.statistics(split).shapes_N2)


def _nm(store: CubeStore) -> torch.Tensor:
    return torch.as_tensor(store.wavelengths_nm, dtype=torch.float32)
