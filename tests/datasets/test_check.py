"""Broken files are found before anything is trained: each image by name, all of them at once, with the reason."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from hsray.datasets import check
from hsray.datasets.check import image_problems
from hsray.datasets.store import CubeStore
from tests.tiny import tiny_store


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_store(tmp_path_factory.mktemp("data")).path


@pytest.fixture
def folder(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "tiny"))


@pytest.fixture(params=["small", "large"])
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """A large dataset is not read whole."""
    if request.param == "large":
        monkeypatch.setattr(check, "HASHED_BYTES", 0)
    return request.param


def said(folder: Path) -> list[str]:
    return [str(problem) for problem in image_problems([CubeStore(folder)])]


def put(folder: Path, split: str, image: str, key: str, at: int, value: float) -> None:
    """One value of an array, counted from its start or its end, written into the file's bytes."""
    content = json.loads((folder / "dataset.json").read_text())
    entry = next(one for one in content["entries"][split] if one["name"] == image)
    kind = "label" if key == "labels" else "cube"
    dtype, offset = np.dtype(entry[f"{kind}_dtype"]), entry[f"{kind}_offset"]
    count = int(np.prod(entry["shape"] if key == "image" else entry["shape"][:2]))
    with (folder / content["files"][split]).open("r+b") as file:
        file.seek(offset + dtype.itemsize * (at % count))
        file.write(np.array(value, dtype).tobytes())


def chunked(folder: Path) -> Path:
    """The same dataset in compressed chunks, which only h5py can read."""
    content = json.loads((folder / "dataset.json").read_text())
    for split, name in content["files"].items():
        with h5py.File(folder / name) as old, h5py.File(folder / "new.h5", "w") as new:
            for image in old:
                for key in ("image", "labels"):
                    new.create_dataset(f"{image}/{key}", data=old[image][key][()], compression="gzip", chunks=True)
        (folder / "new.h5").replace(folder / name)
        for entry in content["entries"][split]:
            entry["cube_offset"] = entry["label_offset"] = None
    (folder / "dataset.json").write_text(json.dumps(content))
    return folder


def test_a_whole_dataset_has_no_problems(folder: Path, size: str) -> None:
    assert said(folder) == []
    assert said(chunked(folder)) == []


def test_a_truncated_file_names_every_image_beyond_its_end(folder: Path, size: str) -> None:
    file = folder / "tiny_val.h5"
    offset = json.loads((folder / "dataset.json").read_text())["entries"]["val"][1]["cube_offset"]
    with file.open("r+b") as handle:
        handle.truncate(offset + 1000)
    [problem] = said(folder)
    for words in ("dataset tiny", "split val", "image val-01", str(file), f"the file ends at byte {offset + 1000:,}"):
        assert words in problem
    with file.open("r+b") as handle:
        handle.truncate(100)
    assert len(said(folder)) == 2


@pytest.mark.parametrize(
    ("image", "key", "at", "value", "words"),
    [
        ("train-02", "labels", 5, 9, "hold the id 9; the classes are 0 to 3"),
        ("train-02", "image", 0, np.nan, "NaN or infinite"),
        ("train-02", "image", -1, np.inf, "NaN or infinite"),
    ],
)
def test_values_that_cannot_be_are_found(folder: Path, size: str, image, key, at, value, words) -> None:
    put(folder, "train", image, key, at, value)
    [problem] = said(folder)
    assert words in problem and "image train-02" in problem


def test_other_labels_than_those_prepared_are_found(folder: Path, size: str) -> None:
    labels_HW = np.array(CubeStore(folder).labels_HW("test", "test-00"))
    put(folder, "test", "test-00", "labels", 0, 1 + labels_HW[0, 0] % 3)
    [problem] = said(folder)
    assert "other numbers of pixels a class" in problem and "image test-00" in problem


def test_a_small_dataset_is_compared_with_its_fingerprint(folder: Path) -> None:
    put(folder, "train", "train-00", "image", 700, 100.0)
    assert "other means of the bands" in said(folder)[0] and "image train-00" in said(folder)[0]


def test_pixels_that_changed_places_change_the_fingerprint(folder: Path) -> None:
    first, second = np.array(CubeStore(folder).cube_HWC("train", "train-00"))[0, :2]
    for band in range(12):
        put(folder, "train", "train-00", "image", band, second[band])
        put(folder, "train", "train-00", "image", 12 + band, first[band])
    [problem] = said(folder)
    assert "their fingerprint is" in problem and CubeStore(folder).fingerprint in problem


def test_all_bad_images_of_all_datasets_come_at_once(folder: Path, tmp_path: Path) -> None:
    other = Path(shutil.copytree(folder, tmp_path / "other"))
    put(folder, "train", "train-01", "labels", 0, 200)
    put(folder, "train", "train-04", "image", 3, np.nan)
    (other / "tiny_test.h5").unlink()
    (other / "tiny_val.h5").unlink()
    (other / "tiny_val.h5").mkdir()  # a file that cannot be opened, whoever asks
    problems = [str(one) for one in image_problems([CubeStore(folder), CubeStore(other), CubeStore(folder)])]
    assert len(problems) == 4
    assert "train-01" in problems[0] and "train-04" in problems[1]
    assert "Is a directory" in problems[2] and "No such file" in problems[3] and str(other) in problems[3]


def test_a_broken_chunk_and_broken_statistics_are_found(folder: Path, size: str) -> None:
    content = bytearray((chunked(folder) / "tiny_train.h5").read_bytes())
    with h5py.File(folder / "tiny_train.h5") as file:
        place = file["train-03"]["labels"].id.get_chunk_info(0)
    content[place.byte_offset : place.byte_offset + place.size] = b"\xff" * place.size
    (folder / "tiny_train.h5").write_bytes(content)
    [problem] = said(folder)
    assert "image train-03" in problem
    (folder / "statistics.npz").write_bytes(b"PK no zip")
    assert len(said(folder)) == 3 and all("statistics" in one for one in said(folder))
