"""SpatSIGMA: the official names and outputs, what of it is pretrained, odd sizes, refusals."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from hsray.errors import RequestError
from hsray.models import build_encoder
from hsray.strategies.adapters import adapt
from hsray.strategies.weights import load_weights, misfit
from tests.models.parity.formula import sampled, uniform, weight

FOLDER = Path(__file__).parent / "spatial"


@pytest.mark.parametrize("size", ["base", "large", "huge"])
def test_names_and_shapes_are_the_official_ones(size: str) -> None:
    shapes = json.loads((FOLDER / "hypersigma.json").read_text("utf-8"))[size]
    with torch.device("meta"):
        body = build_encoder("hypersigma-spat", 15, size=size).body
        published = {name: torch.empty(shape) for name, shape in shapes.items()}
    own = {name: tensor for name, tensor in body.state_dict().items() if "sampling_offsets" not in name}
    assert set(own) == {name for name in published if not name.startswith(body.spare_tensors)}
    assert all(list(tensor.shape) == shapes[name] for name, tensor in own.items())


def test_outputs_are_the_official_ones() -> None:
    encoder = build_encoder("hypersigma-spat", 15, size="tiny", levels=6).eval()
    own = {name: weight(name, tuple(tensor.shape)) for name, tensor in encoder.body.state_dict().items()}
    encoder.body.load_state_dict(own)
    patches = {name: f"patch_embed.proj.{name}" for name in ("weight", "bias")}
    shapes = {name: tuple(tensor.shape) for name, tensor in encoder.patch_embed.state_dict().items()}
    encoder.patch_embed.load_state_dict({name: weight(patches[name], shapes[name]) for name in shapes})
    with torch.inference_mode():
        maps = encoder(torch.from_numpy(uniform("hypersigma", (2, 15, 32, 48))))[1:]
    with np.load(FOLDER / "hypersigma.npz") as arrays:
        for index, block in enumerate([0, 2, 3, 5]):
            expected = arrays[f"map {index}"]
            found = sampled(maps[block].numpy(), f"map {index}")
            assert np.abs(found - expected).max() / np.abs(expected).max() < 1e-5


def test_public_weights_fill_all_but_the_sampling_offsets(tmp_path: Path) -> None:
    torch.manual_seed(0)
    body = build_encoder("hypersigma-spat", 15, size="tiny").body
    offsets = {name: t.clone() for name, t in body.state_dict().items() if "sampling_offsets" in name}
    public = {name: torch.randn_like(t) for name, t in body.state_dict().items() if name not in offsets}
    spare = {"patch_embed.proj.weight": torch.rand(48, 100, 8, 8), "decoder_pred.bias": torch.rand(3)}
    torch.save({"model": public | spare}, tmp_path / "spat.pth")
    load_weights(body, str(tmp_path / "spat.pth"))
    for name, tensor in body.state_dict().items():
        torch.testing.assert_close(tensor, (public | offsets)[name])
    del public["blocks.0.attn.qkv.weight"]
    fault = misfit(body.state_dict(), body.translate(public), body.spare_tensors, "encoder")
    assert fault is not None
    assert "qkv.weight: missing" in fault


@pytest.mark.parametrize("size", [(5, 9), (33, 16)])
def test_any_bands_and_odd_sizes(size: tuple[int, int]) -> None:
    encoder = build_encoder("hypersigma-spat", 7, size="tiny", patch=4).eval()
    maps = encoder(torch.rand(1, 7, *size))
    height, width = maps[0].shape[2:]
    assert (height, width) == tuple(-(-side // 4) * 4 for side in size)
    for one, channels, stride in zip(maps, encoder.out_channels, encoder.strides, strict=True):
        assert one.shape == (1, channels, height // stride, width // stride)


def test_a_patch_attends_where_its_offsets_point() -> None:
    # With offsets of one patch to the right and no others, every patch hands on its neighbour's value.
    encoder = build_encoder("hypersigma-spat", 3, size="tiny", points=1)
    attention = encoder.body.blocks[0].attn
    with torch.no_grad():
        attention.sampling_offsets.weight.zero_()
        attention.sampling_offsets.bias.copy_(torch.tensor([1.0, 0.0]).repeat(4))
        tokens_BND = torch.rand(1, 6, 48)
        value_BND = attention.qkv(tokens_BND)[..., 96:].reshape(1, 2, 3, 48)
        moved = torch.cat([value_BND[:, :, 1:], torch.zeros(1, 2, 1, 48)], dim=2).reshape(1, 6, 48)
        torch.testing.assert_close(attention(tokens_BND, (2, 3)), attention.proj(moved))


def test_the_patch_embedding_learns_beside_a_frozen_body() -> None:
    encoder = build_encoder("hypersigma-spat", 5, size="tiny")
    encoder.set_submodule(encoder.pretrained_part, adapt(encoder.body, "frozen"))
    encoder(torch.rand(1, 5, 16, 16))[-1].square().sum().backward()
    assert {name for name, p in encoder.named_parameters() if p.grad is not None} == {
        "patch_embed.weight",
        "patch_embed.bias",
    }


@pytest.mark.parametrize(
    ("options", "message"),
    [({"size": "giant"}, "no size"), ({"levels": 0}, "0 levels"), ({"points": 0}, "0 sampled points")],
)
def test_bad_requests(options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        build_encoder("hypersigma-spat", 5, **options)
