"""Round trips of the benchmark's raw formats, and what broken raw files get."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image
from rawfiles import images_of, small, write_hcv2, write_hsidrive, write_hyko2

from hsray.datasets import CubeStore, catalog
from hsray.datasets.prepare import prepare
from hsray.datasets.raw import benchmark_source
from hsray.errors import RequestError

SIZES = {"hyko2": (81, 32, 49), "hsidrive": (451, 150, 151), "hcv2": (949, 105, 276), "hcv2-iros2024": (527, 105, 422)}


@pytest.mark.parametrize("name", catalog.NAMES)
def test_the_catalogue_holds_the_official_splits(name):
    known = catalog.find(name.upper())
    assert tuple(map(len, known.splits.values())) == SIZES[name]
    images = [image for split in known.splits.values() for image in split]
    assert len(set(images)) == len(images)
    assert [info.id for info in known.classes] == list(range(len(known.classes)))
    assert [info.id for info in known.classes if not info.scored] == [known.ignore_id]
    assert not any("." in image for image in images)


def test_catalogue_agrees_with_the_reference_files():
    folder = Path(__file__).resolve().parents[3] / "shared" / "reference"
    if not folder.is_dir():
        pytest.skip("the folder ../shared/reference is not there")
    for name, waves in (("hyko2", "hyko2"), ("hsidrive", "hsidrive"), ("hcv2", "hcv2"), ("hcv2-iros2024", "hcv2")):
        known = catalog.find(name)
        centres = [float(line.split()[1]) for line in (folder / f"wavelengths/wave_{waves}.csv").open() if line.strip()]
        assert np.allclose(known.wavelengths_nm, centres, atol=1e-3)
        for split, images in known.splits.items():
            listed = (folder / "splits" / name / f"{split}_samples.csv").read_text().split()
            assert sorted(one.removesuffix(".hsd").removesuffix("_spec_annotated.mat") for one in listed) == images


def check(store: CubeStore, images, mapping, halve=False):
    for (split, image), (cube_HWC, labels_HW) in images.items():
        if halve:
            cube_HWC, labels_HW = cube_HWC[::2, ::2], labels_HW[::2, ::2]
        np.testing.assert_allclose(store.cube_HWC(split, image), cube_HWC, rtol=0, atol=1e-5 if halve else 0)
        np.testing.assert_array_equal(store.labels_HW(split, image), np.vectorize(mapping)(labels_HW))
        assert store.cube_HWC(split, image).dtype == np.float32


def test_hyko2_with_all_its_images_by_name(tmp_path):
    known = catalog.find("hyko2")
    images = images_of(known, list(range(11)), (3, 4))
    write_hyko2(tmp_path / "raw" / "vis_annotated", images)
    store = prepare("hyko2", tmp_path / "raw", tmp_path / "data")
    check(store, images, lambda raw: raw)
    assert store.classes == known.classes and len(store.images("train")) == 81


def test_hyko2_leaves_out_a_file_without_a_key_and_names_it(tmp_path, caplog):
    known = small("hyko2")
    images = images_of(known, [0, 1])
    write_hyko2(tmp_path / "raw", images)
    without = known.splits["train"][1]
    scipy.io.savemat(tmp_path / "raw" / f"{without}_spec_annotated.mat", {"data": np.ones((6, 8, 15), np.float32)})
    with caplog.at_level(logging.WARNING):
        store = prepare(benchmark_source(known, tmp_path / "raw"), None, tmp_path / "data")
    assert store.images("train") == [known.splits["train"][0], known.splits["train"][2]]
    assert without in caplog.text and "label_Semantic" in caplog.text
    assert list(store.source["skipped"]) == [f"train/{without}"]
    assert len(store.statistics("train").counts_N) == 2


def test_hsidrive_drops_water_and_shifts_labels(tmp_path):
    known = small("hsidrive")
    images = images_of(known, list(range(11)))
    write_hsidrive(tmp_path / "raw", images)
    expected = {0: 9, 1: 0, 2: 1, 3: 2, 4: 3, 5: 4, 6: 5, 7: 6, 8: 9, 9: 7, 10: 8}
    check(prepare(benchmark_source(known, tmp_path / "raw"), None, tmp_path / "data"), images, expected.get)


@pytest.mark.parametrize(("name", "test_folder"), [("hcv2", "test"), ("hcv2-iros2024", "train")])
def test_hcv2_from_components_and_halved(tmp_path, name, test_folder):
    known = small(name)
    images = images_of(known, [*range(19), 255], (7, 9))
    write_hcv2(tmp_path / "raw", known, images)
    assert (tmp_path / "raw" / test_folder / f"{known.splits['test'][0]}.hsd").is_file()
    store = prepare(benchmark_source(known, tmp_path / "raw"), None, tmp_path / "data")
    cut = {key: (cube_HWC[:6, :8], labels_HW[:6, :8]) for key, (cube_HWC, labels_HW) in images.items()}
    check(store, cut, lambda raw: 19 if raw == 255 else raw, halve=True)


def refused(source_or_known, raw, tmp_path, *words, **options):
    with pytest.raises(RequestError) as caught:
        prepare(benchmark_source(source_or_known, raw), None, tmp_path / "data", **options)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert not (tmp_path / "data").exists() or not list((tmp_path / "data").iterdir())


def test_missing_raw_files_are_all_named_before_anything_is_written(tmp_path):
    known = small("hsidrive")
    images = images_of(known, [1])
    write_hsidrive(tmp_path / "raw", images)
    gone = [
        f"Image_dataset/labels/{known.splits['val'][0]}.png",
        f"Image_dataset/cubes_fl32/{known.splits['test'][0]}_TC.mat",
    ]
    for path in gone:
        (tmp_path / "raw" / path).unlink()
    refused(known, tmp_path / "raw", tmp_path, "2 of 14 raw files", *gone)
    refused(known, tmp_path / "nowhere", tmp_path, "not there", "nowhere")


@pytest.mark.parametrize("keep", [0, 10, 200, -1])
@pytest.mark.parametrize("name", ["hyko2", "hsidrive", "hsidrive-labels", "hcv2"])
def test_a_truncated_raw_file_is_named(tmp_path, name, keep):
    known = small(name.split("-")[0])
    images = images_of(known, [1, 2], (20, 20))
    if name == "hyko2":
        write_hyko2(tmp_path / "raw", images)
    elif name == "hcv2":
        write_hcv2(tmp_path / "raw", known, images)
    else:
        write_hsidrive(tmp_path / "raw", images)
    last = sorted((tmp_path / "raw").rglob({"hsidrive-labels": "*.png", "hcv2": "*.hsd"}.get(name, "*.mat")))[-1]
    last.write_bytes(last.read_bytes()[: min(keep, 60) if name == "hsidrive-labels" and keep > 0 else keep])
    refused(known, tmp_path / "raw", tmp_path, "truncated", last.name)


def test_a_raw_file_without_its_key_is_named_with_the_key(tmp_path):
    known = small("hsidrive")
    write_hsidrive(tmp_path / "raw", images_of(known, [1]))
    path = tmp_path / "raw/Image_dataset/cubes_fl32" / f"{known.splits['train'][0]}_TC.mat"
    scipy.io.savemat(path, {"kube": np.ones((25, 6, 8))})
    refused(known, tmp_path / "raw", tmp_path, "'cube'", path.name)


def test_labels_of_another_size_than_the_cube(tmp_path):
    known = small("hsidrive")
    write_hsidrive(tmp_path / "raw", images_of(known, [1]))
    path = tmp_path / "raw/Image_dataset/labels" / f"{known.splits['train'][0]}.png"
    Image.fromarray(np.ones((8, 6), np.uint8)).save(path)
    refused(known, tmp_path / "raw", tmp_path, "8×6 against 6×8", path.name)


def test_a_label_outside_the_classes_and_a_wrong_number_of_bands(tmp_path):
    known = small("hcv2")
    images = images_of(known, [1, 2], (8, 8))
    bad = known.splits["val"][0]
    images["val", bad] = (images["val", bad][0], np.full((8, 8), 77, np.uint8))
    write_hcv2(tmp_path / "raw", known, images)
    refused(known, tmp_path / "raw", tmp_path, "no class: 77", bad)
    refused(
        replace(known, wavelengths_nm=known.wavelengths_nm[:100]),
        tmp_path / "raw",
        tmp_path,
        "100 wavelengths, 128 bands",
    )


def nan_in_two_images(tmp_path):
    known = small("hyko2")
    images = images_of(known, [0, 1])
    first, last = ("train", known.splits["train"][0]), ("test", known.splits["test"][-1])
    images[first][0][2, 3, [4, 9]] = np.nan, np.inf
    images[last][0][0, 0, 4] = -np.inf
    write_hyko2(tmp_path / "raw", images)
    return known, images, first, last


def test_nan_is_counted_and_every_image_named(tmp_path):
    known, _, first, last = nan_in_two_images(tmp_path)
    refused(
        known, tmp_path / "raw", tmp_path, "2 values that are NaN", "1 values", first[1], last[1], "in 2 of 15 bands"
    )


def test_nan_policies(tmp_path):
    known, images, _, _ = nan_in_two_images(tmp_path)
    source = benchmark_source(known, tmp_path / "raw")
    zeroed = prepare(source, None, tmp_path / "data", nan="zero", name="zeroed")
    for (split, image), (cube_HWC, _) in images.items():
        np.testing.assert_array_equal(zeroed.cube_HWC(split, image), np.nan_to_num(cube_HWC, posinf=0, neginf=0))
    dropped = prepare(source, None, tmp_path / "data", nan="drop-band", name="dropped")
    kept = np.delete(np.arange(15), [4, 9])
    np.testing.assert_array_equal(dropped.wavelengths_nm, np.array(known.wavelengths_nm)[kept])
    for (split, image), (cube_HWC, _) in images.items():
        np.testing.assert_array_equal(dropped.cube_HWC(split, image), cube_HWC[..., kept])
    assert dropped.source["dropped_bands_nm"] == [known.wavelengths_nm[4], known.wavelengths_nm[9]]
    with pytest.raises(RequestError, match="policy"):
        prepare(source, None, tmp_path / "data", nan="ignore", name="x")


def test_an_output_that_exists_is_kept_unless_told(tmp_path):
    known = small("hyko2")
    write_hyko2(tmp_path / "raw", images_of(known, [0, 1]))
    source = benchmark_source(known, tmp_path / "raw")
    first = prepare(source, None, tmp_path / "data")
    with pytest.raises(RequestError, match="there already") as caught:
        prepare(source, None, tmp_path / "data")
    assert "--overwrite" in str(caught.value) and "--name" in str(caught.value)
    again = prepare(source, None, tmp_path / "data", overwrite=True)
    assert again.fingerprint == first.fingerprint
    assert prepare(source, None, tmp_path / "data", name="other").fingerprint == first.fingerprint
    assert sorted(path.name for path in (tmp_path / "data").iterdir()) == ["hyko2", "other"]


def test_published_layout_is_what_is_written(tmp_path):
    """Other tools read the store as the authors' files: a group per image, both arrays contiguous."""
    known = small("hyko2")
    write_hyko2(tmp_path / "raw", images_of(known, [0, 1]))
    store = prepare(benchmark_source(known, tmp_path / "raw"), None, tmp_path / "data")
    with h5py.File(store.path / "hyko2_val.h5") as file:
        assert list(file) == known.splits["val"]
        for group in file.values():
            assert group["image"].shape == (6, 8, 15) and group["labels"].shape == (6, 8)
            assert group["image"].id.get_offset() and group["labels"].id.get_offset()
