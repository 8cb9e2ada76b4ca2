"""Confusion matrices over pooled pixels and their reduction over workers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


def confusion(prediction_N: Tensor, labels_N: Tensor, num_classes: int, ignore_id: int) -> np.ndarray:
    """Counts (K, K) int64: rows true, columns predicted; pixels of the ignored class do not count."""
    # Not by torchmetrics: where torch is deterministic it compares every pixel with each of K² numbers, in gigabytes.
    labels_N, prediction_N = labels_N.flatten(), prediction_N.flatten()
    counted_N = labels_N != ignore_id
    pairs_N = labels_N[counted_N] * num_classes + prediction_N[counted_N]
    return torch.bincount(pairs_N, minlength=num_classes**2).reshape(num_classes, num_classes).cpu().numpy()


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
