"""What a prepared dataset holds, as a dictionary and as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from hsray.datasets.classes import RGB
from hsray.datasets.pseudorgb import rgb_bands, stretch
from hsray.datasets.store import SPLITS, CubeStore

IMAGES_SHOWN = 4
GREY = "#666666"


def describe(store: CubeStore) -> dict[str, Any]:
    """Return bands, wavelengths, splits with image counts, and each class's pixels and share by split."""
    splits, pixels = {}, {}
    for split in SPLITS:
        statistics = store.statistics(split)
        pixels[split] = statistics.class_pixels_NK.sum(axis=0)
        splits[split] = {
            "images": len(store.images(split)),
            "pixels": int(statistics.counts_N.sum()),
            "labelled": int(pixels[split].sum() - pixels[split][store.ignore_id]),
        }
    return {
        "name": store.name,
        "path": str(store.path),
        "bands": store.bands,
        "wavelengths_nm": [float(store.wavelengths_nm.min()), float(store.wavelengths_nm.max())],
        "splits": splits,
        "classes": [
            {
                "id": info.id,
                "name": info.name,
                "rgb": list(info.rgb),
                "scored": info.scored,
                "pixels": {split: int(pixels[split][info.id]) for split in SPLITS},
                "share": {
                    split: float(pixels[split][info.id] / max(splits[split]["labelled"], 1)) if info.scored else None
                    for split in SPLITS
                },
            }
            for info in store.classes
        ],
        "ignore_id": store.ignore_id,
        "left_out": list(store.left_out),
        "skipped": store.source.get("skipped", {}),
        "dropped_bands_nm": store.source.get("dropped_bands_nm", []),
        "fingerprint": store.fingerprint,
    }


def picture(store: CubeStore, path: Path) -> None:
    """Write a PNG: pseudo-RGB beside labels for some images of each split; for a table of spectra, class means."""
    with matplotlib.rc_context({"font.size": 9, "axes.titlesize": 9, "axes.linewidth": 0.5}):
        table = all(store.statistics(split).shapes_N2[:, 1].max() == 1 for split in SPLITS)
        figure = _spectra(store) if table else _images(store)
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130, facecolor="white", bbox_inches="tight")


def colours(store: CubeStore) -> np.ndarray:
    """Return the colour of every class id, shape (K, 3), uint8."""
    return np.array([info.rgb for info in store.classes], dtype=np.uint8)


def _images(store: CubeStore) -> Figure:
    shown = {split: _shown(store, split) for split in SPLITS}
    columns = max(map(len, shown.values()))
    heights = [store.shape_HWC(split, image)[:2] for split in SPLITS for image in shown[split]]
    aspect = float(np.mean([height / width for height, width in heights]))
    cell = 1.55 if columns > 1 else 3.2
    figure = Figure(figsize=(2 * cell * columns + 0.4, 3 * cell * aspect + 1.6), layout="constrained")
    grid = figure.add_gridspec(3, 1)
    rows = [figure.add_subfigure(grid[row, 0]) for row in range(3)]
    bands = list(rgb_bands(store.wavelengths_nm))
    low_3, high_3 = stretch([store.cube_HWC(split, image)[..., bands] for split in shown for image in shown[split]])
    for row, split in zip(rows, SPLITS, strict=True):
        total = len(store.images(split))
        row.suptitle(f"{split}: {len(shown[split])} of {total} images", x=0.01, ha="left", fontsize=10, weight="bold")
        axes = row.subplots(1, 2 * columns, squeeze=False, gridspec_kw={"wspace": 0.02})[0]
        for axis in axes:
            _bare(axis)
        for index, image in enumerate(shown[split]):
            rgb = (store.cube_HWC(split, image)[..., bands] - low_3) / (high_3 - low_3)
            axes[2 * index].imshow(rgb.clip(0, 1), interpolation="nearest")
            axes[2 * index].set_title(
                image if len(image) <= 24 else image[:23] + "…", loc="left", color=GREY, fontsize=7
            )
            axes[2 * index + 1].imshow(colours(store)[store.labels_HW(split, image)], interpolation="nearest")
    nm = ", ".join(f"{store.wavelengths_nm[band]:.0f}" for band in bands)
    figure.suptitle(f"{store.name}: red, green, blue = {nm} nm, beside the labels", fontsize=11)
    _legend(figure, store)
    return figure


def _spectra(store: CubeStore) -> Figure:
    figure = Figure(figsize=(9, 4.8), layout="constrained")
    axis = figure.subplots()
    order = np.argsort(store.wavelengths_nm)
    values = np.concatenate([store.cube_HWC("train", image)[:, 0] for image in store.images("train")])
    labels = np.concatenate([store.labels_HW("train", image)[:, 0] for image in store.images("train")])
    for info in store.classes:
        if info.scored and (labels == info.id).any():
            mean_L = values[labels == info.id].mean(axis=0)
            axis.plot(store.wavelengths_nm[order], mean_L[order], color=_matplotlib(info.rgb), linewidth=1.3)
    axis.set(
        xlabel="wavelength (nm)", ylabel="mean of the class", title=f"{store.name}: {len(labels)} training spectra"
    )
    axis.spines[["top", "right"]].set_visible(False)
    _legend(figure, store, undefined=False)
    return figure


def _legend(figure: Figure, store: CubeStore, *, undefined: bool = True) -> None:
    classes = [info for info in store.classes if info.scored or undefined]
    handles = [
        Patch(facecolor=_matplotlib(info.rgb), edgecolor=GREY, linewidth=0.5, label=info.name) for info in classes
    ]
    width = figure.get_figwidth()
    longest = max(len(info.name) for info in classes)
    columns = max(1, min(len(handles), int(width / (0.085 * longest + 0.55))))
    figure.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False, fontsize=8)


def _shown(store: CubeStore, split: str) -> list[str]:
    """The images of a split that hold the most classes, and of those the most labelled pixels."""
    counts_NK = np.delete(store.statistics(split).class_pixels_NK, store.ignore_id, axis=1)
    order = np.lexsort((-counts_NK.sum(axis=1), -(counts_NK > 0).sum(axis=1)))
    images = store.images(split)
    return [images[index] for index in order[:IMAGES_SHOWN]]


def _bare(axis: Axes) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    axis.spines[:].set_visible(False)


def _matplotlib(rgb: RGB) -> tuple[float, float, float]:
    return rgb[0] / 255, rgb[1] / 255, rgb[2] / 255
