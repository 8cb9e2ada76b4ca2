"""Small simulated datasets for tests: classes are smooth spectra, regions are stripes, noise is added."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from hsray.datasets.classes import ClassInfo, palette
from hsray.datasets.store import SPLITS, CubeStore
from hsray.datasets.writer import Plan, StoreWriter


def tiny_store(
    root: Path,
    name: str = "tiny",
    *,
    images: dict[str, int] | None = None,
    size: tuple[int, int] = (16, 16),
    bands: int = 12,
    classes: int = 3,
    noise: float = 0.05,
    seed: int = 0,
) -> CubeStore:
    """A store of simulated cubes; class 0 is undefined, and a tenth of the pixels has no label."""
    random = np.random.default_rng(seed)
    images = images or {"train": 6, "val": 2, "test": 3}
    nm = np.linspace(450, 900, bands)
    spectra = 0.5 + 0.3 * np.sin(nm / 120 + np.arange(classes)[:, None] * 1.7)
    colours = palette(classes)
    infos = [ClassInfo(0, "undefined", (0, 0, 0), False)]
    infos += [ClassInfo(i + 1, f"class {i + 1}", colours[i], True) for i in range(classes)]
    splits = {split: [f"{split}-{i:02d}" for i in range(images[split])] for split in SPLITS}
    plan = Plan(name, tuple(infos), 0, tuple(map(float, nm)), splits, (), {"kind": "simulated"}, size == (1, 1))
    writer = StoreWriter(root / name, plan)
    for split in SPLITS:
        for image in writer.todo(split):
            labels_HW = np.repeat(random.integers(0, classes, (size[0], -(-size[1] // 4))), 4, axis=1)[:, : size[1]]
            cube_HWC = spectra[labels_HW] + random.normal(0, noise, (*size, bands))
            labels_HW = np.where(random.random(size) < 0.1, 0, labels_HW + 1)
            writer.write(split, image, cube_HWC.astype(np.float32), labels_HW)
    writer.finish()
    return CubeStore(root / name)
