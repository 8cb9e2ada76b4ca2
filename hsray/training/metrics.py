"""Confusion matrices over pooled pixels, by torchmetrics, and their reduction over workers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor
from torchmetrics.functional.classification import multiclass_confusion_matrix


def confusion(prediction_N: Tensor, labels_N: Tensor, num_classes: int, ignore_id: int) -> np.ndarray:
    """Counts (K, K) int64: rows true, columns predicted; pixels of the ignored class do not count."""
    if not (labels_N != ignore_id).any():
        return np.zeros((num_classes, num_classes), dtype=np.int64)
    matrix_KK = multiclass_confusion_matrix(
        prediction_N.flatten(), labels_N.flatten(), num_classes, ignore_index=ignore_id, validate_args=False
    )
    return matrix_KK.cpu().numpy().astype(np.int64)


def share_buffers(model: torch.nn.Module) -> None:
    """Give every worker the first one's batch-norm statistics: after an update they differ, and a model is scored
    as a whole."""
    if torch.distributed.is_initialized():
        for buffer in model.buffers():
            torch.distributed.broadcast(buffer, 0)


def gather_from_workers(content: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """All workers' entries in one dictionary."""
    if not torch.distributed.is_initialized():
        return content
    parts: list[dict[str, np.ndarray]] = [{} for _ in range(torch.distributed.get_world_size())]
    torch.distributed.all_gather_object(parts, content)
    return {name: value for part in parts for name, value in part.items()}


def reduce_over_workers(values: np.ndarray) -> np.ndarray:
    """Sum over all workers of a distributed run; the values themselves where there is one worker."""
    if not torch.distributed.is_initialized():
        return values
    total = torch.as_tensor(values)
    if torch.distributed.get_backend() == "nccl":
        total = total.cuda()
    torch.distributed.all_reduce(total)
    return total.cpu().numpy()
