"""A process that reads a store: `python -m tests.benchmarks.reader first-batch|hold|hold-trial FOLDER`."""

from __future__ import annotations

import sys
import time

import numpy as np
import psutil

from hsray.datasets import SPLITS, open_store, training_subset

CROP, BATCH = 64, 4


def first_batch(path: str) -> float:
    """Seconds from opening the store to the first batch: subset, view and crops included, imports not."""
    from hsray.datasets.samples import CropBatches, Reader
    from hsray.datasets.views import fit_view

    started = time.perf_counter()
    store = open_store(path)
    subset = training_subset(store, 0.5, 0)
    fit_view(store, subset, "bands")
    reader = Reader(((store, None),))
    batches = CropBatches(reader, subset, batch=BATCH, crop=CROP, crops_per_image=BATCH, flip=0.0, seed=0)
    x_BCHW, _ = next(iter(batches.epoch(0)))
    seconds = time.perf_counter() - started
    assert x_BCHW.shape == (BATCH, store.bands, CROP, CROP)
    return seconds


def hold(path: str) -> None:
    """Read all cubes and labels, say so, and give this process's share of memory (PSS, bytes) when asked."""
    store = open_store(path)
    total = 0.0
    for split in SPLITS:
        for image in store.images(split):
            total += float(np.sum(store.cube_HWC(split, image))) + float(np.sum(store.labels_HW(split, image)))
    print(total, flush=True)
    sys.stdin.readline()
    print(psutil.Process().memory_full_info().pss, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    what, folder = sys.argv[1:]
    if what == "first-batch":
        print(first_batch(folder))
    else:
        if what == "hold-trial":
            import hsray.sweep.execution  # noqa: F401  (what a trial's process has loaded)
        hold(folder)
