"""The test images whose predictions two finals keep: their names, their scores, and the maps of one of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import streamlit as st

from hsray.dashboards.filters import one_of
from hsray.dashboards.mirrored import mirror
from hsray.dashboards.pictures import Predictions, changed
from hsray.dashboards.settings import settings
from hsray.errors import HsrayError, RequestError
from hsray.leaderboard.confusions import CONFUSION, Confusions, read_confusions
from hsray.leaderboard.npz import UnreadableError, read_arrays
from hsray.scores import scores

MAPS = "maps.npz"
MOST_BYTES = 2**28  # unpacked; hsray.datasets.mosaic.MAPPED_PIXELS of two bytes, and room
ORDERS = ("as they come", "A's worst first", "most ahead: A", "most ahead: B")


@dataclass(frozen=True)
class Final:
    """A complete final: its strategy's name, its MLflow run, and what its `predictions.npz` shows."""

    name: str
    run_id: str
    example: Predictions


def choose_image(a: Final, b: Final | None) -> str | None:
    """Let one test image be chosen of those that both keep; None where there is no choice: the finals' example."""
    names = _names(a)
    of_both = set(names).intersection(_names(b) if b else names)
    if len(of_both) < 2:
        return None
    of_a, of_b = image_scores(a), image_scores(b) if b else {}
    kept = [name for name in names if name in of_both and name in of_a and (b is None or name in of_b)]
    left, right = st.columns([1, 2])
    with left:
        order = one_of("Order", ORDERS if b else ORDERS[:2], "order")
    if st.session_state.setdefault("ordered", order) != order:  # begin anew; a link's own image stays
        st.session_state["ordered"] = order
        st.session_state.pop("image", None)
    with right:
        return one_of(f"Test image, of {len(kept)}", ordered(kept, of_a, of_b, order), "image")


def ordered(names: list[str], of_a: dict[str, float], of_b: dict[str, float], order: str) -> list[str]:
    """The images in one of `ORDERS`, by the scores of A and B; without a score at the end."""
    if order == ORDERS[0]:
        return names
    sign = {ORDERS[1]: 1, ORDERS[2]: -1, ORDERS[3]: 1}[order]
    value = {name: sign * (of_a[name] - (of_b[name] if order != ORDERS[1] else 0)) for name in names}
    return sorted(names, key=lambda name: (np.isnan(value[name]), value[name], name))


def image_scores(final: Final) -> dict[str, float]:
    """The mean Jaccard of every test image in percent; NaN where it has no labelled pixel."""
    found = _confusions(final)
    each = zip(found.images_N, found.confusion_NKK, strict=True)
    return {name: 100 * scores(one_KK, found.ignore_id)["jaccard_macro"] for name, one_KK in each}


def of_image(final: Final, dataset: str, image: str) -> Predictions:
    """What a final predicts on a test image, with labels and pseudo-RGB from the prepared dataset.

    Raises:
        HsrayError: the dataset is not there or not the one that the final was scored on, or its file is damaged.
    """
    path = _artifact(final, MAPS)
    prediction_HW = _prediction(str(path), changed(path), image)
    labels_HW, rgb_HW3 = _scene(settings().data, dataset, image)
    example, found = final.example, _confusions(final)
    classes = len(found.class_names_K)
    fits = labels_HW.shape == prediction_HW.shape and max(labels_HW.max(), prediction_HW.max()) < classes
    if fits:
        counted = labels_HW != found.ignore_id
        pairs = labels_HW[counted].astype(np.int64) * classes + prediction_HW[counted]
        confusion_KK = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
        fits = np.array_equal(confusion_KK, found.of_images((image,))[0])
    if not fits:
        raise RequestError(
            "the prepared dataset is not the one that this final was scored on: its labels give other figures",
            where=f"{image} of {dataset} under {settings().data}; {final.name}",
        )
    score = scores(confusion_KK, found.ignore_id)["jaccard_macro"]
    parts = vars(example) | {"rgb_HW3": rgb_HW3, "labels_HW": labels_HW, "prediction_HW": prediction_HW, "score": score}
    return Predictions(**parts)


def _names(final: Final) -> tuple[str, ...]:
    if not _has_maps(settings().mirror, final.run_id):
        return ()
    path = _artifact(final, MAPS)
    return _read_names(str(path), changed(path))


@st.cache_resource(max_entries=4096, show_spinner=False)
def _has_maps(folder: str, run_id: str) -> bool:
    """A final of a scene, or of an hsray that did not write them, has none: MLflow is asked once."""
    return mirror().artifact(run_id, MAPS) is not None


def _artifact(final: Final, name: str) -> Path:
    path = mirror().artifact(final.run_id, name)
    if path is None:
        raise HsrayError(f"{final.name} left no {name}", where=f"MLflow run {final.run_id}")
    return path


def _confusions(final: Final) -> Confusions:
    path = _artifact(final, CONFUSION)
    return _read_confusions(str(path), changed(path))


@st.cache_resource(max_entries=16, show_spinner=False)
def _read_confusions(path: str, changed: int) -> Confusions:
    return read_confusions(Path(path))


@st.cache_resource(max_entries=64, show_spinner=False)
def _read_names(path: str, changed: int) -> tuple[str, ...]:
    return tuple(str(name) for name in _arrays(path, "images_N").ravel())


@st.cache_resource(max_entries=32, show_spinner=False)
def _prediction(path: str, changed: int, image: str) -> np.ndarray:
    number = _read_names(path, changed).index(image)
    prediction_HW = _arrays(path, f"prediction_{number}_HW")
    if prediction_HW.ndim != 2 or prediction_HW.dtype.kind != "u" or not prediction_HW.size:
        raise HsrayError("these predictions cannot be read: they are no map of classes", where=path)
    return prediction_HW


def _arrays(path: str, name: str) -> np.ndarray:
    try:
        return read_arrays(Path(path), (name,), MOST_BYTES)[name]
    except UnreadableError as error:
        raise HsrayError(f"these predictions cannot be read: {error}", where=path) from None


@st.cache_resource(max_entries=32, show_spinner="reading the image …")
def _scene(data: str, dataset: str, image: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels (H, W) and pseudo-RGB (H, W, 3) of a test image."""
    from hsray.dashboards.spectra import store_of
    from hsray.datasets.mosaic import pseudo_rgb

    store = store_of(data, dataset)
    if image not in store.images("test"):
        raise RequestError(f"the prepared dataset has no test image '{image}'", where=f"{dataset} under {data}")
    return np.asarray(store.labels_HW("test", image)), pseudo_rgb(store, "test", image)
