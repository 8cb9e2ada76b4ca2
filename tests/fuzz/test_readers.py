"""Every reader under broken and hostile input: at least a thousand examples each (`make fuzz`)."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from hsray.datasets import open_store
from hsray.datasets.cubefiles import cube_files
from hsray.datasets.own import own_source, read_description
from hsray.datasets.own.arrays import read_array
from hsray.experiment import load_experiment
from hsray.pretraining.recipe import load_recipe
from hsray.strategies.strategy import strategy
from hsray.strategies.tensorfile import read_tensors
from hsray.tracking.runfolder import read_run
from hsray.training.checkpoint import read as read_checkpoint
from tests.fuzz.guard import holds
from tests.fuzz.mutate import broken
from tests.fuzz.valid import ENVI_DATA, FILES
from tests.tiny import tiny_store

EXAMPLES = int(os.environ.get("FUZZ_EXAMPLES", "1000"))
FOLDER_TOML = b"""name = "many"
kind = "folder"
cubes = "{image}.npy"
labels = "{image}_labels.npy"
wavelengths = [450, 500, 550, 600]
splits = "splits.csv"
"""


def _experiment(path: Path) -> None:
    loaded = load_experiment(path)
    for request in loaded.axes["strategy"]:
        strategy(request)


def _own(path: Path) -> None:
    source = own_source(read_description(path), path.parent)
    for split, images in source.splits.items():
        for image in images:
            source.read(split, image)


def _beside(name: str) -> Callable[[Path], None]:
    """Read the description `name` that lies beside the broken file."""
    return lambda path: _own(path.parent / name)


def _cubes(path: Path) -> None:
    for read in cube_files(path).values():
        np.asarray(read()).astype(np.float32, copy=True)


def _label_map(path: Path) -> None:
    np.array(read_array(path))


def _run_folder(path: Path) -> None:
    read_run(path.parent)


def _store(path: Path) -> None:
    store = open_store(str(path.parent))
    for split in ("train", "val", "test"):
        store.statistics(split).means_NC.sum()
        for image in store.images(split):
            np.array(store.cube_HWC(split, image))
            np.array(store.labels_HW(split, image))


READERS: dict[str, tuple[Callable[[Path], Any], tuple[str, ...]]] = {
    "experiment.yaml": (_experiment, ()),
    "scene.toml": (_own, ("cube.npy", "labels.npy")),
    "table.toml": (_own, ("table.csv",)),
    "table.csv": (_beside("table.toml"), ("table.toml",)),
    "splits.csv": (_beside("folder.toml"), ("cube.npy", "labels.npy")),
    "recipe.yaml": (load_recipe, ()),
    "cube.npy": (_cubes, ()),
    "cube.npz": (_cubes, ()),
    "cube.mat": (_cubes, ()),
    "cube73.mat": (_cubes, ()),
    "cube.h5": (_cubes, ()),
    "cube.hdr": (_cubes, ()),
    "cube.hsd": (_cubes, ()),
    "labels.png": (_label_map, ()),
    "weights.ckpt": (read_tensors, ()),
    "weights.safetensors": (read_tensors, ()),
    "old.pth": (read_tensors, ()),
    "last.pt": (read_checkpoint, ()),
    "spec.json": (_run_folder, ("result.json", "epochs.jsonl")),
    "result.json": (_run_folder, ("spec.json", "epochs.jsonl")),
    "epochs.jsonl": (_run_folder, ("spec.json", "result.json")),
}
STORE_FILES = ("dataset.json", "statistics.npz", "tiny_train.h5")


def fuzz(path: Path, whole: bytes, read: Callable[[Path], Any]) -> None:
    """Read a thousand broken versions of a file, and the whole one before and after."""
    path.write_bytes(whole)
    assert holds(lambda: read(path)), "the whole file is read"

    @settings(
        max_examples=EXAMPLES, deadline=None, derandomize=True, database=None,
        phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(st.data())
    def broken_ones(data: st.DataObject) -> None:
        content = data.draw(broken(whole))
        path.unlink()  # a new file: the old one may still be mapped
        path.write_bytes(content)
        holds(lambda: read(path))

    broken_ones()


@pytest.mark.parametrize("name", READERS)
def test_a_broken_file_is_read_or_refused(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    read, others = READERS[name]
    for other in others:
        (tmp_path / other).write_bytes(FILES[other])
    if name == "cube.hdr":
        (tmp_path / "cube.img").write_bytes(ENVI_DATA)
    if name == "splits.csv":
        (tmp_path / "folder.toml").write_bytes(FOLDER_TOML)
        for image in "abc":
            (tmp_path / f"{image}.npy").write_bytes(FILES["cube.npy"])
            (tmp_path / f"{image}_labels.npy").write_bytes(FILES["labels.npy"])
    fuzz(tmp_path / name, FILES[name], read)


@pytest.mark.parametrize("name", STORE_FILES)
def test_a_broken_store_is_read_or_refused(name: str, tmp_path: Path) -> None:
    store = tiny_store(tmp_path, images={"train": 2, "val": 1, "test": 1}, size=(4, 4), bands=3, classes=2)
    [path] = store.path.glob(name)
    fuzz(path, path.read_bytes(), _store)
