"""The four scores of HS3-Bench from a confusion matrix, with numpy alone.

Equal to torchmetrics' multiclass metrics with ``num_classes=K`` and ``ignore_index=ignore_id`` over pooled pixels
(HS3-Bench, arXiv 2409.11205). The undefined class keeps its output channel: predicted on a labelled pixel it is a class
of its own with score zero in macro accuracy and F1, and it is left out of the Jaccard index.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

METRICS = ("accuracy_micro", "accuracy_macro", "f1_macro", "jaccard_macro")


def scores(confusion_KK: ArrayLike, ignore_id: int | None = None) -> dict[str, float]:
    """The scores, as fractions of one, of a confusion matrix (rows: true class, columns: predicted).

    K counts the undefined class. The row of ``ignore_id`` holds no pixels or is not counted. Classes that stand neither
    in the labels nor in the predictions are left out of the means. Without a labelled pixel every score is NaN.
    """
    confusion = _counted(confusion_KK, ignore_id)
    hits, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    pixels = confusion.sum()
    if not pixels:
        return dict.fromkeys(METRICS, float("nan"))
    seen = true + predicted > 0
    return {
        "accuracy_micro": float(hits.sum() / pixels),
        "accuracy_macro": float(_ratio(hits, true)[seen].mean()),
        "f1_macro": float(_ratio(2 * hits, true + predicted)[seen].mean()),
        "jaccard_macro": float(np.nanmean(jaccard_by_class(confusion, ignore_id))),
    }


def jaccard_by_class(confusion_KK: ArrayLike, ignore_id: int | None = None) -> NDArray[np.float64]:
    """The Jaccard index of every class, (K,): NaN for the ignored class and for classes that do not occur."""
    confusion = _counted(confusion_KK, ignore_id)
    hits, true, predicted = np.diag(confusion), confusion.sum(1), confusion.sum(0)
    counted = true + predicted > 0
    if ignore_id is not None and 0 <= ignore_id < len(confusion):
        counted[ignore_id] = False
    return np.where(counted, _ratio(hits, true + predicted - hits), np.nan)


def _counted(confusion_KK: ArrayLike, ignore_id: int | None) -> NDArray[np.float64]:
    confusion = np.array(confusion_KK, dtype=np.float64)
    if confusion.ndim != 2 or confusion.shape[0] != confusion.shape[1]:
        raise ValueError(f"a confusion matrix is square, this one has the shape {confusion.shape}")
    if ignore_id is not None and 0 <= ignore_id < len(confusion):
        confusion[ignore_id] = 0
    return confusion


def _ratio(part: NDArray[np.float64], whole: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros_like(part), where=whole > 0)
