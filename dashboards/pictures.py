"""What a final predicts, as pictures: its file of predictions read, coloured, and set against another's."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import streamlit as st

from hsray.errors import HsrayError
from hsray.leaderboard.predictions import Maps, read_maps

UNLABELLED = (110, 110, 110)
MOST_PIXELS = 1000  # height or width of a picture that is sent; greater ones lose rows and columns
# Where two predictions stand: Okabe and Ito's blue and vermillion, which differ in lightness too.
STANDING = {
    "both right": (225, 225, 225),
    "only A right": (0, 114, 178),
    "only B right": (240, 150, 60),
    "both wrong, alike": (150, 60, 130),
    "both wrong, differently": (60, 20, 60),
    "no label": UNLABELLED,
}


class Predictions(Maps):
    """A final's `predictions.npz` whose undefined class is one of its classes, in colours."""

    def coloured(self, labels_HW: np.ndarray, *, only_labelled: bool) -> np.ndarray:
        """Class ids as colours (H, W, 3); grey where there is no label."""
        shown_HW3 = self.painted(labels_HW, UNLABELLED)
        if only_labelled:
            shown_HW3[self.labels_HW == self.ignore_id] = UNLABELLED
        return shown_HW3

    @property
    def classes(self) -> list[tuple[str, str]]:
        """Name and colour (#rrggbb) of the classes that labels or prediction hold, the undefined one apart."""
        present = sorted(set(np.unique(self.labels_HW)) | set(np.unique(self.prediction_HW)))
        colour = ["#{:02x}{:02x}{:02x}".format(*map(int, rgb)) for rgb in self.class_rgb_K3]
        return [(self.class_names[int(k)], colour[int(k)]) for k in present if k != self.ignore_id]


@st.cache_resource(max_entries=16, show_spinner=False)
def read_predictions(path: str, changed: int) -> Predictions:
    """Read a final's file.

    Raises:
        HsrayError: it is no such file, or damaged.
    """
    maps = read_maps(Path(path))
    if not 0 <= maps.ignore_id < len(maps.class_names):
        raise HsrayError("these predictions cannot be read: their undefined class is none of theirs", where=path)
    return Predictions(**vars(maps))


def standing(a: Predictions, b: Predictions) -> tuple[np.ndarray, dict[str, int]]:
    """Where each of two is right on the same labels: a picture (H, W, 3), and the pixels of each standing."""
    labelled_HW = a.labels_HW != a.ignore_id
    a_right_HW, b_right_HW = a.prediction_HW == a.labels_HW, b.prediction_HW == b.labels_HW
    alike_HW = a.prediction_HW == b.prediction_HW
    cases = {
        "both right": a_right_HW & b_right_HW,
        "only A right": a_right_HW & ~b_right_HW,
        "only B right": ~a_right_HW & b_right_HW,
        "both wrong, alike": ~a_right_HW & ~b_right_HW & alike_HW,
        "both wrong, differently": ~a_right_HW & ~b_right_HW & ~alike_HW,
    }
    picture_HW3 = np.empty((*a.labels_HW.shape, 3), np.uint8)
    picture_HW3[:] = STANDING["no label"]
    counts = {}
    for name, case_HW in cases.items():
        picture_HW3[case_HW & labelled_HW] = STANDING[name]
        counts[name] = int((case_HW & labelled_HW).sum())
    return picture_HW3, counts


def data_url(picture_HW3: np.ndarray) -> str:
    """A PNG that needs no address of its own."""
    from PIL import Image

    step = -(-max(picture_HW3.shape[:2]) // MOST_PIXELS)
    buffer = io.BytesIO()
    Image.fromarray(picture_HW3[::step, ::step]).save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def changed(path: Path) -> int:
    """When the file was written, for caches."""
    return path.stat().st_mtime_ns
