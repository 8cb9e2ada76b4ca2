"""Prediction of whole images and their confusion matrices: in one pass, in overlapping windows, or pixel by pixel."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from hsray.datasets.samples import Reader, Shard
from hsray.errors import RunStopped
from hsray.training.metrics import confusion, gather_from_workers, reduce_over_workers
from hsray.training.stopping import never

PIXELS_AT_ONCE = 16384
SMALLEST_WINDOW = 8


def windows(size: int, window: int, overlap: float) -> list[slice]:
    """Slices of length `window` that cover `size`, overlapping at least by `overlap`, none past the end."""
    if window >= size:
        return [slice(0, size)]
    count = 1 + int(np.ceil((size - window) / max(1, int(window * (1 - overlap)))))
    starts = np.linspace(0, size - window, count).round().astype(int)
    return [slice(int(start), int(start) + window) for start in starts]


@torch.inference_mode()
def image_logits(
    model: nn.Module,
    reader: Reader,
    split: str,
    image: str,
    *,
    task: str,
    window: int | None,
    overlap: float,
    device: torch.device,
    half: bool = False,
    shrink: int = 1,
    stop: Callable[[], bool] = never,
) -> Tensor:
    """Logits (K, H, W) float32 of one image; where windows overlap, their mean. `shrink` makes windows so many times
    smaller, for a device that has no room for them; single pixels do not notice.

    Raises:
        RunStopped: `stop` said so between two windows.
    """

    def logits_of(x: Tensor) -> Tensor:
        if stop():
            raise RunStopped(f"asked to stop while it read '{split}'")
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=half):
            return model(x.to(device)).float()

    height, width = reader.labels_HW(split, image).shape
    if task == "spectral":
        block_HWC = reader.block_HWC(split, image, slice(None), slice(None))
        pixels_NC = torch.from_numpy(np.ascontiguousarray(block_HWC)).reshape(height * width, -1)
        parts = [logits_of(part) for part in pixels_NC.split(PIXELS_AT_ONCE // shrink)]
        return torch.cat(parts).T.reshape(-1, height, width)
    total, visits = None, torch.zeros(height, width, device=device)
    tall, wide = (max(SMALLEST_WINDOW, (window or side) // shrink) for side in (height, width))
    for rows in windows(height, tall, overlap):
        for columns in windows(width, wide, overlap):
            block_HWC = reader.block_HWC(split, image, rows, columns)
            logits_KHW = logits_of(torch.from_numpy(np.ascontiguousarray(block_HWC)).permute(2, 0, 1)[None])[0]
            if total is None:
                total = torch.zeros(len(logits_KHW), height, width, device=device)
            total[:, rows, columns] += logits_KHW
            visits[rows, columns] += 1
    assert total is not None
    return total / visits


def predictions(
    model: nn.Module, reader: Reader, split: str, images: list[str], **how
) -> Iterator[tuple[str, Tensor, Tensor]]:
    """For each image its name, logits (K, H, W) and labels (H, W), both on the device."""
    model.eval()
    for image in images:
        logits_KHW = image_logits(model, reader, split, image, **how)
        labels_HW = torch.from_numpy(np.array(reader.labels_HW(split, image), dtype=np.int64))
        yield image, logits_KHW, labels_HW.to(logits_KHW.device)


@dataclass
class Evaluation:
    """Confusion matrices of a split's images (N, K, K) int64 in the store's order, the mean loss of a labelled pixel,
    and label maps (H, W) of the images that were asked for."""

    confusion_NKK: np.ndarray
    loss: float
    predictions: dict[str, np.ndarray] = field(default_factory=dict)


def evaluate(
    model: nn.Module,
    reader: Reader,
    split: str,
    *,
    shard: Shard = Shard(),
    keep: Collection[str] = (),
    stop: Callable[[], bool] = never,
    **how,
) -> Evaluation:
    """Score a split. Images are shared among the workers of a distributed run; each gets the whole result.

    Raises:
        RunStopped: `stop` said so to one of the workers; all of them raise it.
    """
    store = reader.store
    names = store.images(split)
    confusion_NKK = np.zeros((len(names), store.num_classes, store.num_classes), dtype=np.int64)
    loss_count_stop = np.zeros(3)
    kept: dict[str, np.ndarray] = {}
    mine = range(shard.rank, len(names), shard.world)
    found = predictions(model, reader, split, [names[i] for i in mine], stop=stop, **how)
    try:
        for index, (image, logits_KHW, labels_HW) in zip(mine, found, strict=True):
            predicted_HW = logits_KHW.argmax(0)
            confusion_NKK[index] = confusion(predicted_HW, labels_HW, store.num_classes, store.ignore_id)
            loss = nn.functional.cross_entropy(
                logits_KHW[None], labels_HW[None], ignore_index=store.ignore_id, reduction="sum"
            )
            loss_count_stop[:2] += float(loss), int((labels_HW != store.ignore_id).sum())
            if image in keep:
                kept[image] = predicted_HW.cpu().numpy().astype(np.min_scalar_type(store.num_classes))
    except RunStopped:
        loss_count_stop[2] = 1  # the others have to hear of it before it counts
    loss_sum, count, stopped = reduce_over_workers(loss_count_stop)
    if stopped:
        raise RunStopped(f"asked to stop while it read '{split}'")
    return Evaluation(reduce_over_workers(confusion_NKK), float(loss_sum / max(count, 1)), gather_from_workers(kept))
