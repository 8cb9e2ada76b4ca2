"""U-Net and RU-Net: the tensors of the published checkpoints, and any image size."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.errors import RequestError
from hsray.models import build_decoder

LEVELS = {  # (in, mid, out) of every double convolution at width 64
    "inc": (15, 64, 64),
    "down1.maxpool_conv.2": (64, 128, 128),
    "down2.maxpool_conv.2": (128, 256, 256),
    "down3.maxpool_conv.2": (256, 512, 512),
    "down4.maxpool_conv.2": (512, 512, 512),
    "up1.conv": (1024, 512, 256),
    "up2.conv": (512, 256, 128),
    "up3.conv": (256, 128, 64),
    "up4.conv": (128, 64, 64),
}


def published(*, norm: bool) -> dict[str, tuple[int, ...]]:
    """Names and shapes from the description of the authors' checkpoints (15 bands, 11 classes)."""
    tensors: dict[str, tuple[int, ...]] = {"outc.conv.weight": (11, 64, 1, 1), "outc.conv.bias": (11,)}
    for name, (first, middle, last) in LEVELS.items():
        for step, (before, after) in enumerate(((first, middle), (middle, last))):
            at = f"{name}.double_conv.{3 * step if norm else 2 * step}"
            tensors[f"{at}.weight"] = (after, before, 3, 3)
            if not norm:
                tensors[f"{at}.bias"] = (after,)
                continue
            batch_norm = f"{name}.double_conv.{3 * step + 1}"
            for one in ("weight", "bias", "running_mean", "running_var"):
                tensors[f"{batch_norm}.{one}"] = (after,)
            tensors[f"{batch_norm}.num_batches_tracked"] = ()
    return tensors


@pytest.mark.parametrize(("name", "norm"), [("unet", False), ("runet", True)])
def test_tensors_are_those_of_the_published_checkpoints(name: str, norm: bool) -> None:
    model = build_decoder(name, 15, 11)
    assert {key: tuple(tensor.shape) for key, tensor in model.state_dict().items()} == published(norm=norm)


def test_dropout_stands_after_the_deepest_pooling_only() -> None:
    model = build_decoder("runet", 3, 2, width=4)
    rates = [getattr(model, f"down{level}").maxpool_conv[1].p for level in range(1, 5)]
    assert rates == [0.0, 0.0, 0.0, 0.25]


@settings(deadline=None, max_examples=15)
@given(height=st.integers(1, 70), width=st.integers(1, 70), name=st.sampled_from(["unet", "runet"]))
def test_logits_have_the_size_of_the_image(height: int, width: int, name: str) -> None:
    model = build_decoder(name, 4, 3, width=2).eval()
    assert model(torch.rand(1, 4, height, width)).shape == (1, 3, height, width)


def test_every_weight_learns_and_one_level_sees_the_whole_patch() -> None:
    torch.manual_seed(0)
    model = build_decoder("runet", 5, 4, width=4)
    image = torch.rand(2, 5, 33, 47, requires_grad=True)
    model(image)[:, :, 16, 23].sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())
    # The pixel's logits depend on pixels that only the coarse levels reach.
    assert image.grad is not None
    assert image.grad[:, :, 0, 0].abs().sum() > 0


def test_an_unknown_option_is_refused_with_those_there_are() -> None:
    with pytest.raises(RequestError, match=r"no option depth[\s\S]*width, dropout"):
        build_decoder("runet", 3, 2, depth=3)


def test_a_pyramid_is_refused() -> None:
    with pytest.raises(RequestError, match="one map"):
        build_decoder("unet", (3, 16, 24), 2)
