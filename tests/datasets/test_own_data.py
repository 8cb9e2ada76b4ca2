"""A person's own scene, folder and table; and what a wrong description gets."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.io
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from spectral.io import envi

from hsray.datasets import SPLITS
from hsray.datasets.own.table import assign_groups
from hsray.datasets.prepare import prepare
from hsray.errors import RequestError

SCENE = """
kind = "scene"
name = "field"
cube = "cube.{ending}"
{key}
labels = "labels.npy"
ignore = [0]
{wavelengths}
[classes]
3 = "grass"
7 = ["tree", [1, 2, 3]]
9 = "lamp post"
[splits]
train = 0.5
val = 0.25
test = 0.25
grid = [4, 4]
min_pixels = 4
"""


def scene(
    folder: Path, ending: str = "npy", key: str = "", wavelengths: str = "wavelengths = {first = 400, last = 900}"
):
    """A scene of 40 × 36 pixels; class 9 is one lamp post in one corner."""
    random = np.random.default_rng(0)
    cube_HWC = random.integers(0, 4000, (40, 36, 5)).astype(np.uint16)
    labels_HW = random.choice([0, 3, 7], (40, 36))
    labels_HW[1:3, 1:3] = 9
    np.save(folder / "labels.npy", labels_HW)
    path = folder / "own.toml"
    path.write_text(SCENE.format(ending=ending, key=key, wavelengths=wavelengths))
    return path, cube_HWC, labels_HW


def whole(store, cube_HWC, labels_HW):
    """Put the blocks back together: every labelled pixel stands in one split, with its values and class."""
    seen = np.zeros(labels_HW.shape, int)
    edges = [np.linspace(0, size, 5).round().astype(int) for size in labels_HW.shape]
    for split in SPLITS:
        for image in store.images(split):
            row, column = int(image[1:3]), int(image[4:6])
            here = np.s_[edges[0][row] : edges[0][row + 1], edges[1][column] : edges[1][column + 1]]
            seen[here] += 1
            np.testing.assert_array_equal(store.cube_HWC(split, image), cube_HWC[here])
            expected = np.select([labels_HW[here] == 3, labels_HW[here] == 7], [0, 1], 2)
            np.testing.assert_array_equal(store.labels_HW(split, image), expected)
    assert (seen == 1).all()


def test_scene_from_npy(tmp_path):
    path, cube_HWC, labels_HW = scene(tmp_path)
    np.save(tmp_path / "cube.npy", cube_HWC)
    store = prepare(path, None, tmp_path / "data")
    whole(store, cube_HWC, labels_HW)
    assert [(c.name, c.scored) for c in store.classes] == [("grass", True), ("tree", True), ("undefined", False)]
    assert store.classes[1].rgb == (1, 2, 3)
    assert [one["name"] for one in store.left_out] == ["lamp post"]
    assert store.cube_HWC("train", store.images("train")[0]).dtype == np.uint16
    assert store.wavelengths_nm.tolist() == [400, 525, 650, 775, 900]
    assert prepare(path, None, tmp_path / "again").fingerprint == store.fingerprint


def test_scene_from_mat_bands_first(tmp_path):
    path, cube_HWC, labels_HW = scene(tmp_path, "mat", 'cube_key = "image"\nlayout = "CHW"')
    scipy.io.savemat(tmp_path / "cube.mat", {"image": cube_HWC.transpose(2, 0, 1), "other": np.ones((3, 3))})
    whole(prepare(path, None, tmp_path / "data"), cube_HWC, labels_HW)


@pytest.mark.parametrize("interleave", ["bil", "bip", "bsq"])
@pytest.mark.parametrize(
    ("unit", "centres"), [("Micrometers", [0.4, 0.5, 0.6, 0.7, 2.1]), ("nm", [400, 500, 600, 700, 2100])]
)
def test_scene_from_envi_with_its_wavelengths(tmp_path, interleave, unit, centres):
    path, cube_HWC, labels_HW = scene(tmp_path, "hdr", wavelengths="")
    metadata = {"wavelength": centres, "wavelength units": unit}
    envi.save_image(str(tmp_path / "cube.hdr"), cube_HWC, interleave=interleave, metadata=metadata)
    store = prepare(path, None, tmp_path / "data")
    whole(store, cube_HWC, labels_HW)
    np.testing.assert_allclose(store.wavelengths_nm, [400, 500, 600, 700, 2100])
    data = tmp_path / "cube.img"
    data.write_bytes(data.read_bytes()[:-1])
    with pytest.raises(RequestError, match="truncated"):
        prepare(path, None, tmp_path / "data", name="other")


def test_nodata_is_treated_as_nan(tmp_path):
    path, cube_HWC, _ = scene(tmp_path)
    cube_HWC[5, 5, 2] = 9999
    np.save(tmp_path / "cube.npy", cube_HWC)
    path.write_text(path.read_text().replace("ignore = [0]", "ignore = [0]\nnodata = 9999"))
    with pytest.raises(RequestError, match="1 values that are NaN"):
        prepare(path, None, tmp_path / "data")
    assert prepare(path, None, tmp_path / "data", nan="drop-band").wavelengths_nm.tolist() == [400, 525, 775, 900]


def rejected(path, tmp_path, *words):
    with pytest.raises(RequestError) as caught:
        prepare(path, None, tmp_path / "data")
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert not (tmp_path / "data").exists()


def test_scene_that_does_not_fit(tmp_path):
    path, cube_HWC, labels_HW = scene(tmp_path)
    rejected(path, tmp_path, "missing", "cube.npy")
    np.save(tmp_path / "cube.npy", cube_HWC[:-1])
    rejected(path, tmp_path, "40×36 against 39×36")
    np.save(tmp_path / "cube.npy", cube_HWC)
    labels_HW[4, 4] = 5
    np.save(tmp_path / "labels.npy", labels_HW)
    rejected(path, tmp_path, "no class: 5", "labels.npy")
    np.save(tmp_path / "labels.npy", np.where(labels_HW == 5, 0, labels_HW))
    text = path.read_text()
    path.write_text(text.replace("{first = 400, last = 900}", "[400, 500]"))
    rejected(path, tmp_path, "2 wavelengths, 5 bands")
    path.write_text(text.replace("{first = 400, last = 900}", "[0.4, 0.5, 0.6, 0.7, 0.8]"))
    rejected(path, tmp_path, "nm")
    path.write_text(text.replace("wavelengths = {first = 400, last = 900}", ""))
    rejected(path, tmp_path, "not known", "wavelengths")
    path.write_text(text.replace("[4, 4]", "[41, 4]"))
    rejected(path, tmp_path, "splits.grid")


def test_all_problems_of_a_description_at_once(tmp_path):
    path, cube_HWC, _ = scene(tmp_path)
    text = path.read_text().replace('name = "field"', 'name = 3\ncolour = "red"').replace("grid = [4, 4]", "grid = [4]")
    path.write_text(text.replace('labels = "labels.npy"\n', ""))
    rejected(path, tmp_path, "4 problems", "name", "colour", "There is no such key", "splits.grid", "labels", "missing")
    path.write_text(text.replace("[classes]", "[classes"))
    rejected(path, tmp_path, "no TOML file", "own.toml")
    path.write_text('kind = "cloud"')
    rejected(path, tmp_path, "kind")
    rejected(tmp_path / "nowhere.toml", tmp_path, "not there")
    np.save(tmp_path / "cube.npy", cube_HWC)
    scene(tmp_path)
    path.write_text(path.read_text().replace("train = 0.5", "train = 0.7"))
    rejected(path, tmp_path, "1.2, not 1")


def folder(tmp_path):
    random = np.random.default_rng(1)
    images = {f"s{i}": (random.random((6, 7, 4)), random.choice([0, 1, 2], (6, 7)).astype(np.uint8)) for i in range(6)}
    for name, (cube_HWC, labels_HW) in images.items():
        np.save(tmp_path / f"{name}.npy", cube_HWC)
        Image.fromarray(labels_HW).save(tmp_path / f"{name}.png")
    rows = [f"s{i},{split}" for i, split in enumerate(["train"] * 3 + ["val", "test", "test"])]
    (tmp_path / "splits.csv").write_text("image,split\n" + "\n".join(rows))
    (tmp_path / "bands.csv").write_text("band,nm\n1,450\n2,550.5\n3,650\n4,750\n")
    path = tmp_path / "own.toml"
    path.write_text(
        'kind = "folder"\nname = "yard"\ncubes = "{image}.npy"\nlabels = "{image}.png"\nignore = [0]\n'
        'splits = "splits.csv"\nwavelengths = "bands.csv"\n'
    )
    return path, images


def test_folder_with_a_split_file(tmp_path):
    path, images = folder(tmp_path)
    store = prepare(path, None, tmp_path / "data")
    assert [store.images(split) for split in SPLITS] == [["s0", "s1", "s2"], ["s3"], ["s4", "s5"]]
    assert store.wavelengths_nm.tolist() == [450, 550.5, 650, 750]
    assert [c.name for c in store.classes] == ["class 1", "class 2", "undefined"]
    cube_HWC, labels_HW = images["s4"]
    np.testing.assert_array_equal(store.cube_HWC("test", "s4"), cube_HWC.astype(np.float32))
    np.testing.assert_array_equal(store.labels_HW("test", "s4"), np.array([2, 0, 1])[labels_HW])


def test_folder_that_does_not_fit(tmp_path):
    path, _ = folder(tmp_path)
    (tmp_path / "s1.png").unlink()
    rejected(path, tmp_path, "1 of 12 raw files", "s1.png")
    folder(tmp_path)
    np.save(tmp_path / "s2.npy", np.ones((6, 7, 3)))
    np.save(tmp_path / "s5.npy", np.ones((5, 7, 4)))
    rejected(path, tmp_path, "2 problems", "4 wavelengths, 3 bands", "6×7 against 5×7")
    folder(tmp_path)
    (tmp_path / "splits.csv").write_text("image,split\ns0,train\ns0,val\n")
    rejected(path, tmp_path, "Line 3")
    (tmp_path / "splits.csv").write_text("image,split\ns0,train\n")
    rejected(path, tmp_path, "no image in val, test")


TABLE = """
kind = "table"
name = "spectra"
table = "{table}"
labels = "label"
{more}
[splits]
train = 0.6
val = 0.2
test = 0.2
"""


def test_table_from_npz_never_cuts_a_group(tmp_path):
    random = np.random.default_rng(2)
    spectra, labels = random.random((300, 6)), random.choice([0, 1, 2], 300, p=[0.6, 0.35, 0.05])
    groups = np.array([f"leaf{i:02d}" for i in random.integers(0, 40, 300)])
    labels[17] = 5
    np.savez(tmp_path / "t.npz", spectra=spectra, label=labels, leaf=groups, nm=np.linspace(400, 900, 6))
    path = tmp_path / "own.toml"
    path.write_text(TABLE.format(table="t.npz", more='group = "leaf"\nwavelengths = "nm"'))
    store = prepare(path, None, tmp_path / "data")
    images = [image for split in SPLITS for image in store.images(split)]
    assert sorted(images) == sorted(set(groups))
    for split in SPLITS:
        for image in store.images(split):
            np.testing.assert_array_equal(
                store.cube_HWC(split, image)[:, 0], spectra[groups == image].astype(np.float32)
            )
            expected = np.where(labels == 5, 3, labels)[groups == image]
            np.testing.assert_array_equal(store.labels_HW(split, image)[:, 0], expected)
    assert [one["name"] for one in store.left_out] == ["class 5"]
    totals = np.array([store.statistics(split).class_pixels_NK.sum(axis=0)[:3] for split in SPLITS])
    np.testing.assert_allclose(totals / totals.sum(axis=0), np.array([[0.6], [0.2], [0.2]]) * np.ones(3), atol=0.12)


def test_table_from_csv_without_groups(tmp_path):
    lines = ["id,450,label,550.5,note"] + [f"{i},{i / 10},{i % 2},{i / 20},x" for i in range(50)]
    (tmp_path / "t.csv").write_text("\n".join(lines))
    path = tmp_path / "own.toml"
    path.write_text(TABLE.format(table="t.csv", more='classes = {0 = "dry", 1 = "wet"}'))
    store = prepare(path, None, tmp_path / "data")
    assert store.wavelengths_nm.tolist() == [450, 550.5]
    assert [len(store.images(split)) for split in SPLITS] == [30, 10, 10]
    rows = {image: store.cube_HWC(split, image) for split in SPLITS for image in store.images(split)}
    np.testing.assert_allclose(rows["row-07"], [[[0.7, 0.35]]], rtol=1e-6)
    statistics = store.statistics("train")
    assert statistics.covariances_NCC.shape == (30, 2, 2) and not statistics.covariances_NCC.any()
    assert statistics.class_pixels_NK.sum(axis=0).tolist() == [15, 15, 0]


def test_table_that_does_not_fit(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(TABLE.format(table="t.npz", more='group = "leaf"\nwavelengths = [400, 500]'))
    rejected(path, tmp_path, "missing", "t.npz")
    content = {"spectra": np.ones((6, 2)), "label": np.array([0, 1] * 3)}
    np.savez(tmp_path / "t.npz", **content)
    rejected(path, tmp_path, "lacks 'leaf'", "'spectra'")
    np.savez(tmp_path / "t.npz", **content, leaf=np.arange(5))
    rejected(path, tmp_path, "different sizes")
    np.savez(tmp_path / "t.npz", **{**content, "spectra": np.ones((6, 3))}, leaf=np.arange(6))
    rejected(path, tmp_path, "2 wavelengths, 3 bands")
    (tmp_path / "t.npz").write_bytes((tmp_path / "t.npz").read_bytes()[:-30])
    rejected(path, tmp_path, "truncated")
    (tmp_path / "t.csv").write_text("450,label\n0.1,0\n0.2,often\n")
    path.write_text(TABLE.format(table="t.csv", more=""))
    rejected(path, tmp_path, "Line 3")


@given(
    st.lists(st.lists(st.integers(0, 3), min_size=3, max_size=3), min_size=3, max_size=40),
    st.integers(0, 5),
)
@settings(max_examples=60, deadline=None)
def test_a_class_in_three_groups_of_its_own_stands_in_every_split(rows, seed):
    counts_GK = np.array([[*row, 0] for row in rows] + [[0, 0, 0, 1]] * 3)
    split_G = assign_groups(counts_GK, np.array([0.6, 0.2, 0.2]), seed)
    assert set(split_G[-3:]) == {0, 1, 2}
    np.testing.assert_array_equal(split_G, assign_groups(counts_GK, np.array([0.6, 0.2, 0.2]), seed))
