"""The confusion matrix and what follows from it, against torchmetrics used as the reference uses it."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.functional.classification import (
    multiclass_accuracy,
    multiclass_confusion_matrix,
    multiclass_f1_score,
    multiclass_jaccard_index,
)

from hsray.scores import scores
from hsray.training.metrics import confusion


@settings(deadline=None, max_examples=50)
@given(st.integers(2, 8), st.integers(0, 7), st.integers(0, 10_000), st.integers(1, 400))
def test_confusion_and_scores_equal_torchmetrics(classes: int, ignore_id: int, seed: int, pixels: int) -> None:
    ignore_id %= classes
    draw = torch.Generator().manual_seed(seed)
    labels, predicted = (torch.randint(classes, (pixels,), generator=draw) for _ in range(2))
    found = confusion(predicted, labels, classes, ignore_id)
    if not (labels != ignore_id).any():
        assert not found.any()
        return
    common = {"num_classes": classes, "ignore_index": ignore_id}
    wanted = multiclass_confusion_matrix(predicted, labels, **common)
    assert found.tolist() == wanted.tolist()
    ours = scores(found, ignore_id)
    theirs = {
        "accuracy_micro": multiclass_accuracy(predicted, labels, average="micro", **common),
        "accuracy_macro": multiclass_accuracy(predicted, labels, average="macro", **common),
        "f1_macro": multiclass_f1_score(predicted, labels, average="macro", **common),
        "jaccard_macro": multiclass_jaccard_index(predicted, labels, average="macro", **common),
    }
    assert ours == pytest.approx({name: float(value) for name, value in theirs.items()}, abs=1e-6)
