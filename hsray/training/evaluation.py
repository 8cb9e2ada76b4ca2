"""Prediction of whole images and their confusion matrices: in one pass, in overlapping windows, or pixel by pixel."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from hsray.datasets.samples import Reader, Shard
from hsray.training.metrics import confusion, gather_from_workers, reduce_over_workers

PIXELS_AT_ONCE = 16384


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
) -> Tensor:
    """Logits (K, H, W) float32 of one image; where windows overlap, their mean."""
    height, width = reader.labels_HW(split, image).shape
    autocast = torch.autocast(device.type, dtype=torch.bfloat16, enabled=half)
    if task == "spectral":
        block_HWC = reader.block_HWC(split, image, slice(None), slice(None))
        pixels_NC = torch.from_numpy(np.ascontiguousarray(block_HWC)).reshape(height * width, -1)
        with autocast:
            parts = [model(part.to(device)).float() for part in pixels_NC.split(PIXELS_AT_ONCE)]
        return torch.cat(parts).T.reshape(-1, height, width)
    total, visits = None, torch.zeros(height, width, device=device)
    for rows in windows(height, window or height, overlap):
        for columns in windows(width, window or width, overlap):
            block_HWC = reader.block_HWC(split, image, rows, columns)
            x_BCHW = torch.from_numpy(np.ascontiguousarray(block_HWC)).permute(2, 0, 1)[None].to(device)
            with autocast:
                logits_KHW = model(x_BCHW)[0].float()
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
    **how,
) -> Evaluation:
    """Score a split. Images are shared among the workers of a distributed run; each gets the whole result."""
    store = reader.store
    names = store.images(split)
    confusion_NKK = np.zeros((len(names), store.num_classes, store.num_classes), dtype=np.int64)
    loss_and_count = np.zeros(2)
    kept: dict[str, np.ndarray] = {}
    mine = range(shard.rank, len(names), shard.world)
    found = predictions(model, reader, split, [names[i] for i in mine], **how)
    for index, (image, logits_KHW, labels_HW) in zip(mine, found, strict=True):
        predicted_HW = logits_KHW.argmax(0)
        confusion_NKK[index] = confusion(predicted_HW, labels_HW, store.num_classes, store.ignore_id)
        loss = nn.functional.cross_entropy(
            logits_KHW[None], labels_HW[None], ignore_index=store.ignore_id, reduction="sum"
        )
        loss_and_count += float(loss), int((labels_HW != store.ignore_id).sum())
        if image in keep:
            kept[image] = predicted_HW.cpu().numpy()
    loss_sum, count = reduce_over_workers(loss_and_count)
    return Evaluation(reduce_over_workers(confusion_NKK), float(loss_sum / max(count, 1)), gather_from_workers(kept))
