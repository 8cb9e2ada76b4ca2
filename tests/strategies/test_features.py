"""The feature cache: what it holds, whose it is, interruptions, company, room, components, listing and pruning."""

from __future__ import annotations

import json
import os
import shutil
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from filelock import FileLock
from safetensors.torch import save_file

import hsray
from hsray.commands.features import delete_kept_features, print_features
from hsray.datasets import CubeStore
from hsray.datasets.views import fit_view
from hsray.errors import RequestError
from hsray.models import build_encoder
from hsray.models.hypersl import HyperSL
from hsray.strategies.feature_cache import chosen_features, delete_features, kept_features
from hsray.strategies.features import check_room, ensure_features, features_bytes, features_folder, is_cacheable
from hsray.strategies.strategy import Strategy, strategy
from hsray.strategies.weights import load_weights
from tests.tiny import tiny_store

FROZEN = "hypersl-frozen"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    return tiny_store(tmp_path_factory.mktemp("data"), images={"train": 3, "val": 1, "test": 1})


def frozen(**values: Any) -> Strategy:
    return strategy(FROZEN).with_values({name.replace("_", "."): value for name, value in values.items()})


def whole_pass(store: CubeStore, image: str) -> np.ndarray:
    """Features (H, W, D) of one training image, from the encoder itself."""
    part = strategy(FROZEN).encoder
    assert part is not None and part.weights is not None
    nm_L = torch.as_tensor(store.wavelengths_nm, dtype=torch.float32)
    model = build_encoder(part.name, store.bands, nm_L, **part.options)
    load_weights(model, part.weights)
    cube_HWC = torch.tensor(np.array(store.cube_HWC("train", image)))
    with torch.no_grad():
        view = fit_view(store, [], "bands", normalise="max").layer
        features = model.eval()(view(cube_HWC.reshape(-1, store.bands)))
    return features.reshape(*cube_HWC.shape[:2], -1).numpy()


def test_it_holds_the_encoders_features_in_the_dtype_asked_for(store: CubeStore, tmp_path: Path) -> None:
    image = store.images("train")[0]
    wanted = whole_pass(store, image)
    single = ensure_features(store, frozen(features_dtype="float32"), tmp_path)
    np.testing.assert_allclose(single.cube_HWC("train", image), wanted, rtol=1e-4, atol=1e-4)
    half = ensure_features(store, frozen(), tmp_path)
    assert half.cube_HWC("train", image).dtype == np.float16
    np.testing.assert_allclose(half.cube_HWC("train", image).astype(np.float32), wanted, rtol=1e-3, atol=1e-3)
    assert np.array_equal(half.labels_HW("train", image), store.labels_HW("train", image))


def test_the_size_is_known_before(tmp_path: Path) -> None:
    store = tiny_store(tmp_path / "data", images={"train": 1, "val": 1, "test": 1}, size=(40, 40))
    for recipe in (frozen(), frozen(features_dtype="float32", features_pca=32)):
        kept = ensure_features(store, recipe, tmp_path)
        taken = sum(path.stat().st_size for path in kept.path.iterdir())
        assert features_bytes(store, recipe) == pytest.approx(taken, rel=0.15)  # HDF5 and the index come on top


def test_every_spectral_encoder_has_a_size_that_is_known_before(store: CubeStore, tmp_path: Path) -> None:
    for name, options in (("hypersl", {"width": 16, "depth": 1, "heads": 2}), ("spectral-pca", {"components": 5})):
        nm_L = torch.as_tensor(store.wavelengths_nm, dtype=torch.float32)
        save_file(build_encoder(name, store.bands, nm_L, **options).state_dict(), tmp_path / "w.safetensors")
        form = {"name": name, "weights": str(tmp_path / "w.safetensors"), **options}
        recipe = {"name": name, "encoder": form, "adapter": {"kind": "frozen"}, "decoder": {"name": "mlp"}}
        kept = ensure_features(store, strategy(recipe), tmp_path / "cache")
        assert kept.bands == (16 if name == "hypersl" else 5)


def test_an_encoder_that_wants_no_scaling_gets_the_same_kept_or_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert is_cacheable(frozen())
    monkeypatch.delattr(HyperSL, "normalise")  # then bands are standardised, which depends on the training images
    assert not is_cacheable(frozen())


def test_every_part_of_the_key_counts(store: CubeStore, tmp_path: Path) -> None:
    other = tiny_store(tmp_path, images={"train": 1, "val": 1, "test": 1}, seed=1)
    recipes = [frozen(), frozen(features_dtype="float32"), frozen(features_pca=4), frozen(view_normalise="none")]
    folders = {features_folder(data, recipe, tmp_path) for data in (store, other) for recipe in recipes}
    assert len(folders) == 2 * len(recipes)
    assert features_folder(store, frozen(decoder_depth=1), tmp_path) in folders, "the decoder does not count"


def test_components_are_of_all_training_features_and_need_no_label(store: CubeStore, tmp_path: Path) -> None:
    recipe = frozen(features_pca=4, features_dtype="float32")
    kept = ensure_features(store, recipe, tmp_path)
    features = np.stack([whole_pass(store, image) for image in store.images("train")]).reshape(-1, 64)
    found = np.stack([kept.cube_HWC("train", image) for image in store.images("train")]).reshape(-1, 4)
    values = np.linalg.eigvalsh(np.cov(features, rowvar=False))[::-1]
    np.testing.assert_allclose(np.cov(found, rowvar=False), np.diag(values[:4]), atol=1e-3 * values[0])
    np.testing.assert_allclose(found.mean(axis=0), 0, atol=1e-3)


@pytest.mark.parametrize("pca", [None, 3])
def test_an_interrupted_pass_goes_on_and_ends_the_same(store: CubeStore, tmp_path: Path, pca: int | None) -> None:
    recipe = frozen(features_pca=pca)
    steps: list[int] = []

    def interrupt(done: int, total: int) -> None:
        steps.append(done)
        if len(steps) == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_features(store, recipe, tmp_path / "cut", progress=interrupt)
    (half,) = kept_features(tmp_path / "cut")
    assert (half.state, half.note, half.dataset) == ("half-written", "2 images", "tiny")
    cut = ensure_features(store, recipe, tmp_path / "cut", progress=lambda done, total: steps.append(done))
    assert steps == [1, 2, 3, 4, 5], "what was done is not done again"
    assert cut.fingerprint == ensure_features(store, recipe, tmp_path / "whole").fingerprint


def test_of_two_that_want_the_same_one_computes_and_one_waits(store: CubeStore, tmp_path: Path) -> None:
    computed: list[str] = []

    def work(name: str) -> None:
        ensure_features(store, frozen(), tmp_path, progress=lambda done, total: computed.append(name))

    threads = [threading.Thread(target=work, args=(name,)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(computed) == 5 and len(set(computed)) == 1


def test_what_does_not_fit_the_disk_is_refused_and_nothing_is_written(
    store: CubeStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_room(1, tmp_path / "not" / "there" / "yet")
    with pytest.raises(RequestError, match=r"take 1e\+12 GB.*are free"):
        check_room(10**21, tmp_path)
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage._replace(free=1000))
    with pytest.raises(RequestError, match="hsray features prune"):
        ensure_features(store, frozen(), tmp_path / "cache")
    assert kept_features(tmp_path / "cache") == []


def test_the_options_are_dimensions_of_frozen_spectral_encoders(store: CubeStore, tmp_path: Path) -> None:
    assert strategy(FROZEN).has("features.pca") and strategy(FROZEN).has("features.dtype")
    assert not strategy(FROZEN).has("features.size") and not strategy("runet").has("features.pca")
    assert not strategy("efficientnet-imagenet").has("features.pca"), "images' features are not kept"
    with pytest.raises(RequestError, match=r"not a valid recipe: features\.dtype"):
        strategy({"base": FROZEN, "name": "x", "features": {"dtype": "float8"}})
    for base, k, said in (("hypersl-lora", 4, "only a frozen encoder"), (FROZEN, 65, "65 components cannot be taken")):
        recipe = {"base": base, "name": "x", "features": {"pca": k}}
        with pytest.raises(RequestError, match=said):
            hsray.train("tiny", recipe, out=tmp_path / "run", task="spectral", data_root=store.path.parent, epochs=1)
    done = hsray.train(
        "tiny", FROZEN, out=tmp_path / "run", task="spectral", data_root=store.path.parent, epochs=1,
        **{"features.pca": 3},
    )  # fmt: skip
    assert done["state"] == "COMPLETE"


@pytest.fixture
def cache(store: CubeStore, tmp_path: Path) -> Path:
    """Two whole ones, the float32 one not used for ten days, and a half-written one."""
    cache = tmp_path / ".features"
    ensure_features(store, frozen(), cache)
    old = ensure_features(store, frozen(features_dtype="float32"), cache)
    then = (datetime.now(UTC) - timedelta(days=10)).timestamp()
    for path in old.path.iterdir():
        os.utime(path, (then, then))

    def interrupt(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ensure_features(store, frozen(features_pca=2), cache, progress=interrupt)
    return cache


def test_listing(cache: Path, store: CubeStore, capsys: pytest.CaptureFixture[str]) -> None:
    by_state = {(one.state, one.dtype): one for one in kept_features(cache)}
    whole = by_state["whole", "float16"]
    assert (whole.dataset, whole.encoder, whole.weights, whole.channels) == ("tiny", "hypersl", "hsray:hsray-small", 64)
    assert whole.bytes == sum(path.stat().st_size for path in (cache / whole.folder).iterdir())
    assert datetime.now(UTC) - whole.last_use < timedelta(minutes=5)
    assert datetime.now(UTC) - by_state["whole", "float32"].last_use > timedelta(days=9)
    print_features(cache.parent, "json")
    assert {row["folder"] for row in json.loads(capsys.readouterr().out)} == {
        one.folder for one in kept_features(cache)
    }
    for format in ("table", "csv", "markdown"):
        print_features(cache.parent, format)
        assert "hsray:hsray-small" in capsys.readouterr().out
    print_features(cache.parent / "nowhere", "table")
    assert "no features are kept" in capsys.readouterr().out
    ensure_features(store, frozen(features_dtype="float32"), cache)  # used again
    assert chosen_features(cache, [], 1.0, False) == []


def test_pruning(cache: Path, store: CubeStore, capsys: pytest.CaptureFixture[str]) -> None:
    names = {one.folder for one in kept_features(cache)}
    assert len(names) == 3
    with pytest.raises(RequestError, match="give --yes"):  # nobody can be asked in a test
        delete_kept_features(cache.parent, [], None, everything=True, yes=False)
    assert {one.folder for one in kept_features(cache)} == names
    old = features_folder(store, frozen(features_dtype="float32"), cache)
    delete_kept_features(cache.parent, [], 5.0, everything=False, yes=True)
    said = capsys.readouterr()
    assert old.name in said.err and "deleted" in said.out
    assert not old.exists() and old.name not in {one.folder for one in kept_features(cache)}
    half = features_folder(store, frozen(features_pca=2), cache)
    with FileLock(half.with_name(half.name + ".lock")):  # somebody writes it
        assert {one.folder: one.state for one in kept_features(cache)}[half.name] == "being written"
        with pytest.raises(RequestError, match="is being written"):
            chosen_features(cache, [half.name], None, False)
        chosen = chosen_features(cache, [], None, True)
        assert half.name not in {one.folder for one in chosen}
    delete_features(cache, chosen_features(cache, [half.name], None, False))
    left = next(path for path in cache.iterdir() if path.is_dir())
    shutil.copytree(left, cache / f".{left.name}.gone")  # of a call that was interrupted
    delete_kept_features(cache.parent, [], None, everything=True, yes=True)
    assert list(cache.iterdir()) == []


@pytest.mark.parametrize(
    ("names", "days", "everything", "said"),
    [
        ([], None, False, "what shall be deleted"),
        (["x"], None, True, "what shall be deleted"),
        (["x"], None, False, "no features 'x'"),
    ],
)
def test_a_choice_must_be_clear(tmp_path: Path, names: list[str], days: float, everything: bool, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        chosen_features(tmp_path, names, days, everything)
