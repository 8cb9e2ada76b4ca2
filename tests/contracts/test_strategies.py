"""Every strategy of the catalogue, made small, its weights random ones in a file: it is built, learns, and is saved."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from hsray.datasets.store import CubeStore
from hsray.datasets.views import fit_view
from hsray.errors import RequestError
from hsray.models import accepted_options, build_encoder, build_stem, decoder, encoder
from hsray.strategies.adapters import trained_parameters
from hsray.strategies.assembly import Assembled, assemble, check_assembly
from hsray.strategies.strategy import Strategy, catalogue
from tests.contracts.promises import check_file, check_repeats, train_once, unchanged
from tests.contracts.small import ODD, SMALL
from tests.tiny import tiny_store

SUBSET = [0, 1]
# Sizes alone: what a recipe says of its architecture stays.
SHRUNK: dict[str, dict[str, Any]] = {
    "hypersl": {"width": 16, "depth": 2, "heads": 2},
    "vit": {"model": "vit_tiny_patch16_224", "depth": 4},
    "hsi-adapter": {
        "model": "vit_tiny_patch16_224",
        "depth": 4,
        "width": 48,
        "spectral_width": 16,
        "spectral_depth": 1,
    },
    "deeplabv3plus-hs3": {"backbone": "mobilenetv2"},
    "dofa": {"size": "tiny"},
    "copernicusfm": {"size": "tiny"},
    "panopticon": {"size": "tiny"},
    "spectralearth-vit": {"size": "tiny"},
    "spectralearth-resnet": {"size": "tiny"},
    "hypersigma-spat": {"size": "tiny"},
}
SIZES = ("width", "hidden", "features", "kernels")
RANDOM = "random.safetensors"


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    images = {"train": 2, "val": 1, "test": 1}
    return tiny_store(tmp_path_factory.mktemp("data"), size=ODD, bands=40, images=images)


def shrunk(recipe: Strategy) -> dict[str, Any]:
    """The recipe with small parts."""
    told = recipe.model_dump(exclude={"name": True, "training": True, "encoder": {"sha256", "family", "seen"}})
    sizes = SMALL["decoder"][recipe.decoder.name].options
    told["decoder"] |= {name: sizes[name] for name in SIZES if name in sizes}
    for part in ("encoder", "decoder"):
        if told[part] is not None:
            told[part] |= SHRUNK.get(told[part]["name"], {})
    if told["encoder"] is not None:
        if "convnext" in told["encoder"].get("model", ""):
            told["encoder"]["model"] = "convnext_atto"
        told["encoder"]["weights"] = told["encoder"]["weights"] and RANDOM
    return told


def distinct() -> dict[str, dict[str, Any]]:
    """Those that are the same once they are small (HyperSL base, large and huge) are tested once."""
    kept: dict[str, dict[str, Any]] = {}
    for name, recipe in catalogue().items():
        if (told := shrunk(recipe)) not in kept.values():
            kept[name] = told
    return kept


RECIPES = distinct()


def with_weights(name: str, store: CubeStore, folder: Path) -> Strategy:
    """The small recipe, with random weights in a file where it has any."""
    told = {**RECIPES[name], "name": name}
    if told["encoder"] is not None and told["encoder"]["weights"]:
        told["encoder"] = {**told["encoder"], "weights": str(folder / RANDOM)}
        _write_random(Strategy.model_validate(told), store, folder / RANDOM)
    return Strategy.model_validate(told)


def _write_random(recipe: Strategy, store: CubeStore, path: Path) -> None:
    assert recipe.encoder is not None
    view = fit_view(store, SUBSET, recipe.view.kind, k=recipe.view.k)
    channels: Any = view.out_channels
    nm_L = None if view.wavelengths_nm is None else torch.as_tensor(view.wavelengths_nm, dtype=torch.float32)
    if recipe.stem is not None:
        channels, nm_L = build_stem(recipe.stem.name, channels, nm_L, **recipe.stem.options).out_channels, None
    model: Any = build_encoder(recipe.encoder.name, channels, nm_L, **recipe.encoder.options)
    save_file(model.get_submodule(getattr(model, "pretrained_part", "")).state_dict(), path)


def adapted_part(assembled: Assembled) -> Any:
    whole = assembled.model.encoder
    return whole.get_submodule(getattr(whole, "adapted_part", getattr(whole, "pretrained_part", "")))


@pytest.mark.parametrize("name", RECIPES)
def test_a_strategy_is_built_learns_what_its_adapter_says_and_goes_through_a_file(
    store: CubeStore, tmp_path: Path, name: str
) -> None:
    recipe = with_weights(name, store, tmp_path)
    check_assembly(recipe, "segmentation", store)
    if decoder(recipe.decoder.name).takes == "vector":
        check_assembly(recipe, "spectral", store)

    def built() -> Assembled:
        torch.manual_seed(0)
        return assemble(recipe, "segmentation", store, SUBSET, tmp_path / "cache")

    assembled, twin = built(), built()
    blocks = [assembled.reader.block_HWC("train", image, slice(None), slice(None)) for image in store.images("train")]
    raw_2CHW = torch.from_numpy(np.stack(blocks)).float().permute(0, 3, 1, 2)

    def run(model: Any) -> Any:
        return model(raw_2CHW)

    assert run(assembled.model.eval()).shape == (2, store.num_classes, *ODD)
    check_repeats(assembled.model, twin.model, run)
    learning = {parameter for parameter, value in assembled.model.named_parameters() if value.requires_grad}
    assert assembled.trained == trained_parameters(assembled.model) > 0
    before = copy.deepcopy(assembled.model.state_dict())
    assert learning - train_once(assembled.model, run) == set()
    if recipe.pretrained and assembled.model.encoder is not None and recipe.adapter.kind != "full":
        part = adapted_part(assembled)
        prefix = next(name for name, module in assembled.model.named_modules() if module is part)
        inside = {key: value for key, value in before.items() if key.startswith(f"{prefix}.")}
        assert inside and unchanged(inside, assembled.model, learning) == []
    check_file(assembled.model, twin.model, run)  # the twin has not learned


@pytest.mark.parametrize("name", ["unet", "efficientnet-imagenet", "hypersl-runet"])
def test_a_task_that_does_not_fit_is_refused(store: CubeStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(RequestError, match="in the spectral task"):
        check_assembly(with_weights(name, store, tmp_path), "spectral", store)


def test_the_catalogue_names_options_that_exist() -> None:
    for name, recipe in catalogue().items():
        for kind, part in (("stem", recipe.stem), ("encoder", recipe.encoder), ("decoder", recipe.decoder)):
            if part is not None:
                assert set(part.options) <= set(accepted_options(kind, part.name)), (name, kind)
        if recipe.encoder is not None:
            assert getattr(encoder(recipe.encoder.name), "gives", None) in ("vector", "pyramid")
