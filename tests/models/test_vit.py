"""Plain vision transformers of timm: any image size, weights of other grids, patches and channels."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models import build_encoder
from hsray.models.vit import TimmViT
from hsray.strategies.weights import load_weights

TINY = "vit_tiny_patch16_224"
# One of every kind: absolute and rotary positions, register tokens, SwiGLU, without class token, patches of 14.
MODELS = [
    "vit_tiny_patch16_224",
    "vit_tiny_patch16_dinov3_qkvb",
    "vit_small_patch14_reg4_dinov2",
    "eva02_tiny_patch14_224",
]


def encoder(channels: int = 3, **options: object) -> TimmViT:
    built = build_encoder("vit", channels, **{"model": TINY, "depth": 4, **options})
    assert isinstance(built, TimmViT)
    return built.eval()


def saved(model: nn.Module, folder: Path) -> str:
    path = folder / "w.safetensors"
    save_file({name: tensor.contiguous() for name, tensor in model.state_dict().items()}, path)
    return str(path)


def randomised(model: nn.Module) -> nn.Module:
    """timm starts some tensors at zero or one, which would hide that they were not loaded."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.05)
    return model


@pytest.mark.parametrize("model", MODELS)
def test_maps_are_those_of_timm_with_its_own_checkpoint(model: str, tmp_path: Path) -> None:
    whole = randomised(timm.create_model(model, depth=2, img_size=112)).eval()  # head, and a grid of its own
    ours = encoder(model=model, depth=2, levels=2)
    load_weights(ours, saved(whole, tmp_path))
    image = torch.rand(1, 3, 112, 112)
    mean, std = (torch.tensor(whole.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    expected = whole.forward_intermediates((image - mean) / std, norm=True, intermediates_only=True)
    resampled = ours.vit.pos_embed is not None  # to the grid of 224 pixels and back
    for own, theirs in zip(ours(image)[1:], expected, strict=True):
        torch.testing.assert_close(own, theirs, rtol=0.02 if resampled else 1e-5, atol=0.1 if resampled else 1e-5)


def test_a_checkpoint_of_the_same_grid_gives_the_same_to_the_bit(tmp_path: Path) -> None:
    whole = randomised(timm.create_model(TINY, depth=2)).eval()
    ours = encoder(depth=2, levels=1)
    load_weights(ours, saved(whole, tmp_path))
    image = torch.rand(1, 3, 224, 224)
    expected = whole.forward_intermediates((image - 0.5) / 0.5, norm=True, intermediates_only=True)[-1]
    assert torch.equal(ours(image)[-1], expected)


def test_own_checkpoints_round_trip(tmp_path: Path) -> None:
    source, target = encoder(5, inflate=True, patch=8), encoder(5, inflate=True, patch=8)
    load_weights(target, saved(randomised(source), tmp_path))
    image = torch.rand(1, 5, 37, 53)
    assert all(torch.equal(a, b) for a, b in zip(source(image), target(image), strict=True))


@pytest.mark.parametrize("model", MODELS)
def test_odd_sizes_are_padded_to_the_grid(model: str) -> None:
    image = torch.rand(1, 3, 37, 53)
    maps = encoder(model=model, levels=2, depth=2)(image)
    patch = 14 if "14" in model else 16
    grid = -(-37 // patch), -(-53 // patch)
    assert [one.shape[2:] for one in maps] == [(grid[0] * patch, grid[1] * patch), grid, grid]
    assert all(torch.isfinite(one).all() for one in maps)


@given(rounds=st.integers(1, 5), seed=st.integers(0, 99))
@settings(max_examples=5, deadline=None)
def test_inflated_weights_see_repeated_rgb_as_rgb(rounds: int, seed: int) -> None:
    torch.manual_seed(seed)
    rgb, inflated = encoder(depth=1, levels=1), encoder(3 * rounds, inflate=True, depth=1, levels=1)
    inflated.load_state_dict(inflated.translate(rgb.state_dict()))
    image = torch.rand(1, 3, 32, 32)
    torch.testing.assert_close(inflated(image.repeat(1, rounds, 1, 1))[-1], rgb(image)[-1], rtol=1e-3, atol=1e-4)


def test_any_number_of_bands_takes_rgb_weights(tmp_path: Path) -> None:
    whole = timm.create_model(TINY, depth=4)
    for bands in (1, 2, 15, 25):
        load_weights(encoder(bands, inflate=True), saved(whole, tmp_path))


def test_another_patch_gives_a_finer_grid_of_the_same_weights(tmp_path: Path) -> None:
    whole = randomised(timm.create_model(TINY, depth=1))
    fine = encoder(patch=8, depth=1, levels=1)
    load_weights(fine, saved(whole, tmp_path))
    assert fine.strides == (1, 8)
    assert fine(torch.rand(1, 3, 32, 32))[-1].shape[2:] == (4, 4)


def test_a_larger_patch_sees_the_same_in_an_even_picture(tmp_path: Path) -> None:
    whole = randomised(timm.create_model(TINY, depth=1))
    coarse = encoder(patch=32, depth=1, levels=1)
    load_weights(coarse, saved(whole, tmp_path))
    even = torch.rand(1, 3, 1, 1)
    expected = whole.patch_embed.proj(even.expand(1, 3, 16, 16))
    torch.testing.assert_close(coarse.vit.patch_embed.proj(even.expand(1, 3, 32, 32)), expected, rtol=1e-3, atol=1e-3)


def test_everything_that_is_built_learns() -> None:
    model = encoder(model="vit_base_patch16_siglip_224.v2_webli", depth=2, levels=2).train()
    sum(one.square().sum() for one in model(torch.rand(1, 3, 32, 32))[-1:]).backward()
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_stages_run_as_the_whole_does() -> None:
    # The HSI adapter runs the blocks in stages; timm runs them at once.
    for model in ("vit_tiny_patch16_224", "vit_tiny_patch16_dinov3_qkvb"):
        ours = encoder(model=model, levels=2)
        image = torch.rand(1, 3, 48, 32)
        tokens, rotary = ours.tokens(ours.prepared(image))
        for start, stop in ((0, 1), (1, 4)):
            tokens = ours.run_blocks(tokens, rotary, start, stop)
        last: Tensor = ours.vit.norm(tokens)[:, ours.vit.num_prefix_tokens :]
        torch.testing.assert_close(last.transpose(1, 2).reshape(1, -1, 3, 2), ours(image)[-1])


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (15, {}, "three channels"),
        (3, {"model": "vit_minute"}, "timm has no model"),
        (
            3,
            {"model": "convnext_atto", "depth": None},
            "cannot be made of timm's 'convnext_atto'[\\s\\S]*encoder 'timm'",
        ),
        (3, {"model": "vit_tiny_r_s16_p8_224"}, "cannot be made of"),
        (3, {"levels": 5}, "cannot give 5 levels"),
        (3, {"depth": 0}, "cannot give 4 levels"),
    ],
)
def test_bad_requests(channels: int, options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        encoder(channels, **options)


def test_weights_of_a_smaller_model_are_refused(tmp_path: Path) -> None:
    whole = timm.create_model(TINY, depth=2)
    with pytest.raises(RequestError, match=r"vit\.blocks\.2\.norm1\.weight: missing"):
        load_weights(encoder(depth=3, levels=1), saved(whole, tmp_path))
