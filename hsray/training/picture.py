"""A picture of a final's predictions: pseudo-RGB, labels and prediction side by side."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from hsray.datasets.mosaic import Mosaic

GREY = (58, 58, 58)
GAP = 8
PANEL = 320  # least height in pixels; small scenes are enlarged without smoothing


def prediction_png(view: Mosaic, class_rgb_K3: np.ndarray, ignore_id: int) -> bytes:
    """PNG of three panels. Pixels without a label are grey in both maps: nothing can be said of them."""
    colours_K3 = class_rgb_K3.copy()
    colours_K3[ignore_id] = GREY
    unlabelled_HW = view.labels_HW == ignore_id
    prediction_HW3 = colours_K3[view.prediction_HW]
    prediction_HW3[unlabelled_HW] = GREY
    panels = [view.rgb_HW3, colours_K3[view.labels_HW], prediction_HW3]
    height = len(view.labels_HW)
    gap = np.full((height, max(1, GAP * height // PANEL), 3), 255, np.uint8)
    image = Image.fromarray(np.concatenate([panels[0], gap, panels[1], gap, panels[2]], axis=1))
    factor = -(-PANEL // height)
    buffer = io.BytesIO()
    image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST).save(buffer, "PNG")
    return buffer.getvalue()
