"""Learning rates by depth: which layer is which, what each group gets, and the same numbers after a crash."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import segmentation_models_pytorch as smp
import timm
import torch
from torch import nn

import hsray
from hsray.datasets import open_store
from hsray.models import build_encoder
from hsray.models.unet import RUNet
from hsray.runlog import read_epochs
from hsray.strategies.adapters import adapt
from hsray.strategies.assembly import assemble
from hsray.strategies.strategy import strategy
from hsray.training import Training
from hsray.training.layerwise import layer_of_parameters, parameter_groups
from tests.tiny import tiny_store

VIT = {"img_size": 16, "patch_size": 8, "embed_dim": 16, "depth": 3, "num_heads": 2, "num_classes": 0}


def encoder_of(name: str) -> nn.Module:
    if name == "hypersl":
        return build_encoder(name, 8, torch.linspace(450, 950, 8), width=16, depth=3, heads=2)
    if name == "vit":
        return timm.create_model("vit_tiny_patch16_224", pretrained=False, **VIT)
    if name == "runet":
        return RUNet(3, 2, width=4)
    if name == "mobilenet":
        return smp.encoders.get_encoder("mobilenet_v2", weights=None)
    model, depth = {"convnext": ("convnext_atto", 4), "resnet": ("resnet10t", 5), "efficientnet": (None, 3)}[name]
    return build_encoder("timm", 3, depth=depth, **({"model": model} if model else {}))


LAYERS = {
    "hypersl": ["embedding_layer_4", "encoder_blocks.0", "encoder_blocks.1", "transformer_encoder_layer"],
    "vit": ["patch_embed", "blocks.0", "blocks.1", "blocks.2"],
    "runet": ["inc", "down1", "down2", "down3", "down4", "up1", "up2", "up3", "up4", "outc"],
    "convnext": ["backbone.stem_1", *(f"backbone.stages_{i}" for i in range(4))],
    "resnet": ["backbone.conv1", *(f"backbone.layer{i}" for i in range(1, 5))],
    "efficientnet": ["backbone.conv_stem", *(f"backbone.blocks.{i}" for i in range(3))],
    "mobilenet": [f"features.{i}" for i in range(18)],
}
WITH = {
    "hypersl": {"global_token": 0, "embedding_layer_1.0.weight": 0},
    "vit": {"cls_token": 0, "pos_embed": 0, "norm.weight": 3},
    "efficientnet": {"backbone.bn1.weight": 0},
    "mobilenet": {"features.18.0.weight": 17},
}


@pytest.mark.parametrize("kind", ["full", "lora", "bottleneck"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_follow_from_the_structure_with_and_without_an_adapter(name: str, kind: str) -> None:
    encoder = adapt(encoder_of(name), kind)
    depths = layer_of_parameters(encoder)
    assert set(depths) == {parameter for parameter, _ in encoder.named_parameters()}
    for depth, layer in enumerate(LAYERS[name]):
        assert {depths[one] for one in depths if one.startswith(f"{layer}.")} == {depth}, layer
    assert max(depths.values()) == len(LAYERS[name]) - 1
    for parameter, depth in WITH.get(name, {}).items():
        assert {
            depths[one] for one in depths if one in (parameter, parameter.replace("weight", "base_layer.weight"))
        } == {depth}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("data")
    tiny_store(root, size=(6, 8), images={"train": 3, "val": 1, "test": 1})
    return root


def groups_of(data: Path, name: str, **training: Any) -> tuple[list[dict[str, Any]], dict[nn.Parameter, str]]:
    assembled = assemble(strategy(name), "spectral", open_store("tiny", data), [0], data / "cache")
    groups = parameter_groups(assembled, Training(lr=0.1, **training))
    return groups, {parameter: name for name, parameter in assembled.model.named_parameters()}


def test_each_layer_gets_its_share_and_the_decoder_the_whole(data: Path) -> None:
    groups, names = groups_of(data, "hypersl-full", layer_decay=0.5, encoder_lr_scale=0.8)
    first = {group["lr_scale"]: names[group["params"][0]] for group in groups}
    assert list(first) == [1.0, 0.8, 0.4, 0.2, 0.1]
    assert first[1.0].startswith("decoder.") and first[0.8].startswith("encoder.transformer_encoder_layer.")
    assert first[0.1] == "encoder.global_token"
    assert [group["lr"] for group in groups] == pytest.approx([0.1, 0.08, 0.04, 0.02, 0.01])
    assert sorted(names[p] for group in groups for p in group["params"]) == sorted(names.values())


@pytest.mark.parametrize("name", ["hypersl-full", "hypersl-frozen", "hypersl-scratch", "mlp"])
def test_nothing_changes_where_it_is_off_or_nothing_is_pretrained(data: Path, name: str) -> None:
    groups, names = groups_of(data, name, **({} if name == "hypersl-full" else {"layer_decay": 0.5}))
    assert [group["lr_scale"] for group in groups] == [1.0]
    assert [names[p] for p in groups[0]["params"]] == list(names.values())


RUN: dict[str, Any] = {
    "dataset": "tiny", "strategy": "hypersl-lora", "task": "spectral", "epochs": 5, "patience": None, "lr": 3e-3,
    "layer_decay": 0.5, "encoder_lr_scale": 0.5, "schedule": "cosine", "batch": 16,
}  # fmt: skip


def test_a_broken_run_goes_on_with_the_same_numbers(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Broken(Exception):
        pass

    def breaks(epoch: int, metrics: dict[str, float]) -> None:
        if epoch == 2:
            raise Broken

    monkeypatch.setenv("HSRAY_CHECKPOINT_SECONDS", "0.05")
    hsray.train(**RUN, data_root=data, out=tmp_path / "whole")
    with pytest.raises(Broken):
        hsray.train(**RUN, data_root=data, out=tmp_path / "broken", report=breaks)
    assert (tmp_path / "broken/last.pt").exists()
    hsray.train(**RUN, data_root=data, out=tmp_path / "broken")
    plain = [
        [{k: v for k, v in record["metrics"].items() if "cost" not in k} for record in read_epochs(tmp_path / run)]
        for run in ("whole", "broken")
    ]
    assert plain[0] == plain[1]
    assert (tmp_path / "whole/best.safetensors").read_bytes() == (tmp_path / "broken/best.safetensors").read_bytes()
    rates = [metrics["lr"] for metrics in plain[0]]
    assert rates == sorted(rates, reverse=True) and 0.9 * RUN["lr"] < rates[0] <= RUN["lr"], (
        "the decoder's rate is told"
    )


def test_a_decay_moves_early_layers_less(data: Path) -> None:
    def moved(**training: Any) -> tuple[float, float]:
        assembled = assemble(strategy("hypersl-full"), "spectral", open_store("tiny", data), [0], data / "cache")
        optimiser = torch.optim.AdamW(parameter_groups(assembled, Training(**training)), weight_decay=0.0)
        encoder = assembled.model.encoder
        watched = [encoder.encoder_blocks[1].mlp.fc1.weight, encoder.transformer_encoder_layer.mlp.fc1.weight]
        before = [one.detach().clone() for one in watched]
        assembled.model(torch.rand(8, 12)).square().mean().backward()
        optimiser.step()
        early, late = (float((one.detach() - old).abs().max()) for one, old in zip(watched, before, strict=True))
        return early, late

    assert moved(lr=1e-3, layer_decay=0.1) == pytest.approx((1e-4, 1e-3), rel=0.05)
    assert moved(lr=1e-3) == pytest.approx((1e-3, 1e-3), rel=0.05)
