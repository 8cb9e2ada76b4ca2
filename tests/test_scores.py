"""Parity with torchmetrics, used as the reference uses it: metric objects over all pixels pooled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torchmetrics.classification import MulticlassAccuracy, MulticlassF1Score, MulticlassJaccardIndex

from hsray.scores import METRICS, jaccard_by_class, scores


def confusion(true: np.ndarray, predicted: np.ndarray, classes: int, ignore_id: int | None) -> np.ndarray:
    kept = np.ones(true.shape, bool) if ignore_id is None else true != ignore_id
    return np.bincount(true[kept] * classes + predicted[kept], minlength=classes**2).reshape(classes, classes)


def reference(true: np.ndarray, predicted: np.ndarray, classes: int, ignore_id: int | None) -> dict[str, float]:
    options: dict = {"num_classes": classes, "ignore_index": ignore_id}
    metrics = {
        "accuracy_micro": MulticlassAccuracy(average="micro", **options),
        "accuracy_macro": MulticlassAccuracy(average="macro", **options),
        "f1_macro": MulticlassF1Score(average="macro", **options),
        "jaccard_macro": MulticlassJaccardIndex(average="macro", **options),
    }
    halves = zip(np.array_split(predicted, 2), np.array_split(true, 2), strict=True)
    for some, target in halves:
        for metric in metrics.values():
            metric.update(torch.from_numpy(some), torch.from_numpy(target))
    return {name: float(metric.compute()) for name, metric in metrics.items()}


@st.composite
def pixels(draw):
    """Labels and predictions drawn from subsets of the classes, so that some are absent in one, other or both."""
    classes = draw(st.integers(2, 8))
    ids = st.sets(st.integers(0, classes - 1), min_size=1)
    in_labels, in_predictions = sorted(draw(ids)), sorted(draw(ids))
    ignore_id = draw(st.sampled_from([None, 255, *range(classes)]))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    number = draw(st.integers(2, 300))
    true, predicted = generator.choice(in_labels, number), generator.choice(in_predictions, number)
    agree = generator.random(number) < draw(st.sampled_from([0.0, 0.5, 0.95]))
    return true, np.where(agree & np.isin(true, in_predictions), true, predicted), classes, ignore_id


@settings(max_examples=200, deadline=None)
@given(pixels())
def test_equal_to_torchmetrics(drawn) -> None:
    true, predicted, classes, ignore_id = drawn
    matrix = confusion(true, predicted, classes, ignore_id)
    ours = scores(matrix, ignore_id)
    if not matrix.sum():
        assert all(np.isnan(value) for value in ours.values())
        return
    assert ours == pytest.approx(reference(true, predicted, classes, ignore_id), abs=1e-6)


@settings(max_examples=50, deadline=None)
@given(pixels())
def test_jaccard_by_class_equals_torchmetrics_where_defined(drawn) -> None:
    true, predicted, classes, ignore_id = drawn
    ours = jaccard_by_class(confusion(true, predicted, classes, ignore_id), ignore_id)
    metric = MulticlassJaccardIndex(average="none", num_classes=classes, ignore_index=ignore_id)
    metric.update(torch.from_numpy(predicted), torch.from_numpy(true))
    defined = ~np.isnan(ours)
    np.testing.assert_allclose(ours[defined], metric.compute().numpy()[defined], atol=1e-6)
    assert ignore_id not in np.flatnonzero(defined)


def test_predicting_the_undefined_class_costs_accuracy_and_f1_but_only_a_miss_in_jaccard() -> None:
    kept = np.array([[8, 2, 0], [0, 10, 0], [0, 0, 0]])
    undefined = np.array([[8, 0, 2], [0, 10, 0], [0, 0, 0]])
    assert scores(undefined, 2)["accuracy_macro"] == pytest.approx((0.8 + 1 + 0) / 3)
    assert scores(undefined, 2)["jaccard_macro"] == pytest.approx((0.8 + 1) / 2)
    assert scores(kept, 2)["accuracy_macro"] == pytest.approx(0.9)


def test_the_row_of_the_ignored_class_is_not_counted() -> None:
    assert scores([[5, 1], [7, 7]], 1) == scores([[5, 1], [0, 0]], 1)


def test_no_labelled_pixel_has_no_score_and_no_warning(recwarn: pytest.WarningsRecorder) -> None:
    assert all(np.isnan(scores(np.zeros((3, 3)), 0)[name]) for name in METRICS)
    assert not recwarn.list


def test_a_matrix_that_is_not_square_is_refused() -> None:
    with pytest.raises(ValueError, match="square"):
        scores(np.zeros((3, 4)))
