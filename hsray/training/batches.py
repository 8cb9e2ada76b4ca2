"""The batches of a run, by its task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hsray.datasets.samples import CropBatches, Reader, Shard, SpectraBatches
from hsray.training.config import RunConfig


def batches_of(config: RunConfig, reader: Reader, subset: Sequence[int], shard: Shard) -> CropBatches | SpectraBatches:
    """A worker's part of the batches of the training images `subset`."""
    training = config.training
    common: dict[str, Any] = {
        "seed": config.seed, "shard": shard, "batch": training.batch, "min_updates": training.min_updates,
    }  # fmt: skip
    if config.task == "spectral":
        return SpectraBatches(reader, subset, pixels_per_image=training.pixels_per_image, **common)
    return CropBatches(
        reader, subset, crop=training.crop, crops_per_image=training.crops_per_image, flip=training.flip,
        loaders=training.loaders, **common,
    )  # fmt: skip
