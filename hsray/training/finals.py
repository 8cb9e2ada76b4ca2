"""What a final leaves: its scores on the test set, read once, and the artefacts that prove and show them."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save as tensors_to_bytes
from torch import nn

from hsray.datasets import CubeStore
from hsray.datasets.mosaic import mapped_images, mosaic, shown_images
from hsray.datasets.samples import Shard
from hsray.runlog import write_atomically
from hsray.scores import scores
from hsray.strategies.assembly import Assembled
from hsray.training.evaluation import evaluate
from hsray.training.picture import prediction_png

CONFUSION, PREDICTIONS, WEIGHTS = "confusion.npz", "predictions.npz", "best.safetensors"
PICTURE, MAPS = "predictions.png", "maps.npz"


def write_test_results(
    folder: Path, store: CubeStore, assembled: Assembled, shard: Shard, how: dict[str, Any]
) -> tuple[dict[str, float], list[str]]:
    """Score the test set of `store`; return metrics `test/…` and the names of the files written into `folder`.

    The confusion matrices of every image are kept, so that each figure can be computed again without the model.
    """
    shown, mapped = shown_images(store), mapped_images(store)
    test = evaluate(assembled.model, assembled.reader, "test", shard=shard, keep={*shown, *mapped}, **how)
    found = scores(test.confusion_NKK.sum(0), store.ignore_id)
    metrics = {f"test/{name}": value for name, value in found.items()} | {"test/loss": test.loss}
    if shard.rank != 0:
        return metrics, []
    names = [info.name for info in store.classes]
    _write_npz(
        folder / CONFUSION,
        confusion_NKK=test.confusion_NKK,
        images_N=np.array(store.images("test")),
        class_names_K=np.array(names),
        ignore_id=np.int64(store.ignore_id),
    )
    write_weights(folder, assembled.model)
    artifacts = [CONFUSION, WEIGHTS]
    seen = {image: test.predictions[image] for image in shown if image in test.predictions}
    if seen:
        view = mosaic(store, "test", seen)
        colours_K3 = np.array([info.rgb for info in store.classes], dtype=np.uint8)
        _write_npz(
            folder / PREDICTIONS,
            rgb_HW3=view.rgb_HW3,
            labels_HW=view.labels_HW,
            prediction_HW=view.prediction_HW,
            class_rgb_K3=colours_K3,
            class_names_K=np.array(names),
            ignore_id=np.int64(store.ignore_id),
            score=np.float64(found["jaccard_macro"]),
        )
        write_atomically(folder / PICTURE, prediction_png(view, colours_K3, store.ignore_id))
        artifacts += [PREDICTIONS, PICTURE]
    if mapped:
        maps = {f"prediction_{number}_HW": test.predictions[image] for number, image in enumerate(mapped)}
        _write_npz(folder / MAPS, images_N=np.array(mapped), **maps)
        artifacts.append(MAPS)
    return metrics, artifacts


def write_weights(folder: Path, model: nn.Module) -> None:
    """`best.safetensors`. Raises MachineFault."""
    write_atomically(folder / WEIGHTS, tensors_to_bytes(model.state_dict()))


def _write_npz(path: Path, **arrays: Any) -> None:
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **arrays)
    write_atomically(path, buffer.getvalue())
