"""Label maps are the model's, in files that say what they show; bad cubes are named and nothing is overwritten."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import scipy.io
from PIL import Image

from hsray.cli import app
from hsray.datasets import CubeStore
from hsray.errors import RequestError
from hsray.models import build_decoder
from hsray.predict import predict
from hsray.scores import scores
from hsray.single import train
from tests.datasets.rawfiles import write_hsd
from tests.test_evaluate import of_authors
from tests.tiny import tiny_store


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the dataset `tiny` and two runs on it."""
    folder = tmp_path_factory.mktemp("data")
    tiny_store(folder, size=(7, 9), images={"train": 2, "val": 2, "test": 3})
    train("tiny", "runet", out=folder / "runet", data_root=folder, epochs=2, **{"decoder.width": 4})
    frozen = {"task": "spectral", "decoder.hidden": 8, "batch": 256}
    train("tiny", "hypersl-frozen-bands", out=folder / "frozen", data_root=folder, epochs=1, **frozen)
    return folder


@pytest.fixture
def store(root: Path) -> CubeStore:
    return CubeStore(root / "tiny")


def maps(folder: Path) -> dict[str, np.ndarray]:
    return {path.stem: np.load(path) for path in sorted(folder.glob("*.npy"))}


def test_the_label_maps_of_a_split_score_what_the_run_scored(root: Path, store: CubeStore, tmp_path: Path) -> None:
    for run in ("runet", "frozen"):
        predict(root / run, "tiny", out=tmp_path / run, data_root=root)
        total = np.zeros((store.num_classes, store.num_classes), dtype=np.int64)
        for name, ids_HW in maps(tmp_path / run).items():
            np.add.at(total, (np.asarray(store.labels_HW("test", name)).ravel(), ids_HW.ravel()), 1)
        result = json.loads((root / run / "result.json").read_text())["metrics"]
        assert {f"test/{k}": v for k, v in scores(total, store.ignore_id).items()}.items() <= result.items()


def test_pictures_carry_ids_and_colours(root: Path, store: CubeStore, tmp_path: Path) -> None:
    written = predict(root / "runet", "tiny", out=tmp_path / "out", split="val", data_root=root)
    assert sorted(written) == sorted((tmp_path / "out").iterdir()) and len(written) == 3 * 2 + 1
    ids_HW = maps(tmp_path / "out")["val-00"]
    assert ids_HW.shape == (7, 9) and ids_HW.max() < store.num_classes
    image = Image.open(tmp_path / "out" / "val-00.png")
    colours = np.array([info.rgb for info in store.classes])
    assert np.array_equal(np.asarray(image), ids_HW) and np.array_equal(
        np.asarray(image.convert("RGB")), colours[ids_HW]
    )
    overlay = np.asarray(Image.open(tmp_path / "out" / "val-00-overlay.png")).astype(float)
    assert overlay.shape == (7, 9, 3)
    assert (np.abs(overlay - colours[ids_HW] / 2) <= 128).all() and overlay.std() > 0
    legend = json.loads((tmp_path / "out" / "classes.json").read_text())
    assert [one["name"] for one in legend["classes"]] == [info.name for info in store.classes]


def test_a_folder_of_cubes_in_every_format(root: Path, store: CubeStore, tmp_path: Path) -> None:
    cubes = {f"test-{i:02d}": np.array(store.cube_HWC("test", f"test-{i:02d}")) for i in range(3)}
    first, second, third = cubes.values()
    raw = tmp_path / "raw"
    raw.mkdir()
    np.save(raw / "a.npy", first)
    np.savez(raw / "b.npz", cube=second.astype(np.float64), labels=np.zeros((7, 9)))
    scipy.io.savemat(raw / "c.mat", {"cube": third.transpose(2, 0, 1), "label": np.zeros((7, 9))})
    with h5py.File(raw / "d.h5", "w") as file:
        for name, cube in cubes.items():
            file[f"{name}/image"], file[f"{name}/labels"] = cube, np.zeros((7, 9))
    write_hsd(raw / "e.hsd", np.repeat(np.repeat(first, 2, 0), 2, 1))
    (raw / "notes.txt").write_text("no cube")
    for run in ("runet", "frozen"):
        predict(root / run, "tiny", out=tmp_path / "split", data_root=root, overwrite=True)
        predict(root / run, raw, out=tmp_path / "folder", data_root=root, overwrite=True)
        wanted, found = maps(tmp_path / "split"), maps(tmp_path / "folder")
        pairs = {"a": "test-00", "b": "test-01", "c": "test-02"} | {name: name for name in cubes}
        assert found.keys() == pairs.keys() | {"e"}
        assert all(np.array_equal(found[mine], wanted[its]) for mine, its in pairs.items())
        assert (found["e"] == wanted["test-00"]).mean() > 0.98  # principal components lose a little
    assert not [path for path in tmp_path.rglob(".hsray-*")]


def test_components_of_features_are_never_fitted_on_what_is_predicted(root: Path, tmp_path: Path) -> None:
    options = {"task": "spectral", "decoder.hidden": 8, "batch": 256, "features.pca": 4}
    train("tiny", "hypersl-frozen", out=tmp_path / "run", data_root=root, epochs=1, **options)
    assert predict(tmp_path / "run", "tiny", out=tmp_path / "split", data_root=root)
    (tmp_path / "cubes").mkdir()
    np.save(tmp_path / "cubes" / "one.npy", np.asarray(CubeStore(root / "tiny").cube_HWC("test", "test-00")))
    with pytest.raises(RequestError, match="4 principal components of the dataset that it was trained on"):
        predict(tmp_path / "run", tmp_path / "cubes", out=tmp_path / "maps", data_root=root)
    assert not (tmp_path / "maps").exists()


def test_many_cubes_go_through_in_parts(root: Path, store: CubeStore, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("hsray.predict.AT_ONCE", 1)
    for image in store.images("test"):
        np.save(tmp_path / f"{image}.npy", store.cube_HWC("test", image))
    seen: list[tuple[int, int]] = []
    predict(root / "runet", tmp_path, out=tmp_path / "out", data_root=root, report=lambda *n: seen.append(n))
    predict(root / "runet", "tiny", out=tmp_path / "split", data_root=root)
    assert seen == [(1, 3), (2, 3), (3, 3)]
    for name, ids_HW in maps(tmp_path / "split").items():
        assert np.array_equal(ids_HW, maps(tmp_path / "out")[name])


def test_an_authors_checkpoint_predicts_cubes_like_a_dataset(root: Path, store: CubeStore, tmp_path: Path) -> None:
    path = of_authors(tmp_path / "a.ckpt", build_decoder("runet", 12, 4, width=4).state_dict())
    np.save(tmp_path / "one.npy", store.cube_HWC("test", "test-00"))
    options = {"strategy": "runet", "data_root": root, "decoder.width": 4}
    with pytest.raises(RequestError, match="not known") as caught:
        predict(path, tmp_path / "one.npy", out=tmp_path / "out", **options)
    assert "--like" in str(caught.value)
    predict(path, tmp_path / "one.npy", out=tmp_path / "out", like="tiny", **options)
    predict(path, "tiny", out=tmp_path / "split", **options)
    assert np.array_equal(maps(tmp_path / "out")["one"], maps(tmp_path / "split")["test-00"])


def test_bad_cubes_are_named_and_nothing_is_written(root: Path, tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    good = np.zeros((4, 5, 12), np.float32)

    def refused(message: str, source: Path = raw, **options: str) -> None:
        with pytest.raises(RequestError) as caught:
            predict(root / "runet", source, out=tmp_path / "out", data_root=root, **options)
        assert message in str(caught.value)
        assert not (tmp_path / "out").exists()

    refused("no such input", tmp_path / "nowhere")
    refused("holds no cubes")
    np.save(raw / "a.npy", good)
    np.save(raw / "b.npy", np.zeros((4, 5, 11), np.float32))
    refused("12 bands; this one has the shape (4, 5, 11)\n  where: " + f"{raw}, cube b")
    np.save(raw / "b.npy", np.full((4, 5, 12), np.nan))
    refused("cube b")
    (raw / "b.npy").write_bytes(b"\x93NUMPY")
    refused("b.npy")
    (raw / "b.npy").unlink()
    np.savez(raw / "a.npz", good)
    refused("two cubes are called 'a'")
    (raw / "a.npz").unlink()
    scipy.io.savemat(raw / "c.mat", {"x": good, "y": good})
    refused("--key")
    refused("lacks the key", key="z")
    (raw / "c.mat").write_bytes(b"hello")
    refused("c.mat")
    (raw / "c.mat").unlink()
    (raw / "d.h5").write_bytes(b"hello")
    refused("d.h5")
    (raw / "d.h5").write_bytes((raw / "a.npy").read_bytes())
    refused("d.h5")


def test_nothing_is_overwritten_unasked(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "test-01.npy").write_bytes(b"mine")
    arguments = ["predict", str(root / "runet"), "tiny", "--out", str(out), "--data", str(root)]
    with pytest.raises(RequestError, match=r"test-01\.npy") as caught:
        app(arguments, standalone_mode=False)
    assert "--overwrite" in str(caught.value)
    assert [path.read_bytes() for path in out.iterdir()] == [b"mine"]
    app([*arguments, "--overwrite"], standalone_mode=False)
    assert "3 label maps" in capsys.readouterr().out
    assert np.load(out / "test-01.npy").shape == (7, 9)
