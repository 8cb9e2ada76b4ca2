"""timm encoders and the decoder over their maps: sizes, the sealed normalisation, refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from hsray.errors import RequestError
from hsray.models import build_decoder, build_encoder
from hsray.strategies.weights import load_weights


@pytest.mark.parametrize(("model", "depth"), [("tf_efficientnet_lite0", 3), ("resnet10t", 5), ("convnext_atto", 2)])
@pytest.mark.parametrize("size", [(5, 9), (33, 47)])
def test_logits_have_the_size_of_the_image(model: str, depth: int, size: tuple[int, int]) -> None:
    encoder = build_encoder("timm", 3, model=model, depth=depth).eval()
    decoder = build_decoder("unet-pyramid", encoder.out_channels, 7, width=4).eval()
    maps = encoder(torch.rand(1, 3, *size))
    assert [one.shape[1] for one in maps] == list(encoder.out_channels)
    assert all(side % encoder.stride == 0 for side in maps[0].shape[2:])
    assert decoder(maps, size).shape == (1, 7, *size)


def test_the_maps_are_those_of_timm_on_a_normalised_image() -> None:
    encoder = build_encoder("timm", 3, model="resnet10t").eval()
    whole = timm.create_model("resnet10t").eval()
    whole.load_state_dict(encoder.backbone.state_dict(), strict=False)
    image = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(whole.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    expected = whole.forward_intermediates((image - mean) / std, intermediates_only=True)
    for ours, theirs in zip(encoder(image)[1:], expected, strict=True):
        torch.testing.assert_close(ours, theirs)


@pytest.mark.parametrize("model", ["convnext_atto", "resnet10t", "mobilenetv2_050", "pvt_v2_b0"])
def test_timms_own_checkpoint_gives_timms_maps(model: str, tmp_path: Path) -> None:
    whole = timm.create_model(model)
    for parameter in whole.parameters():
        nn.init.normal_(parameter, std=0.05)  # timm starts some at zero or one, which would hide a wrong place
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    ours = build_encoder("timm", 3, model=model).eval()
    load_weights(ours, str(tmp_path / "w.safetensors"))
    image = torch.rand(1, 3, 64, 64)
    mean, std = (torch.tensor(whole.pretrained_cfg[key])[:, None, None] for key in ("mean", "std"))
    expected = whole.eval().forward_intermediates((image - mean) / std, intermediates_only=True)[-1]
    torch.testing.assert_close(ours(image)[-1], expected)


@pytest.mark.parametrize("model", ["convnext_atto", "resnet10t", "mobilenetv2_050"])
def test_inflated_weights_see_repeated_rgb_as_rgb(model: str) -> None:
    rgb = build_encoder("timm", 3, model=model, depth=2).eval()
    inflated = build_encoder("timm", 12, model=model, depth=2, inflate=True).eval()
    inflated.load_state_dict(inflated.translate(rgb.state_dict()))
    image = torch.rand(1, 3, 37, 53)
    torch.testing.assert_close(inflated(image.repeat(1, 4, 1, 1))[-1], rgb(image)[-1], rtol=1e-3, atol=1e-4)


def test_the_normalisation_is_no_part_of_the_weights() -> None:
    encoder = build_encoder("timm", 3, depth=2)
    assert all(name.startswith("backbone.") for name in encoder.state_dict())


@pytest.mark.parametrize("model", ["tf_efficientnet_lite0", "mobilenetv3_small_050", "resnet10t", "convnext_atto"])
def test_everything_that_is_built_learns(model: str) -> None:
    # Distributed training waits for ever on parameters that get no gradient.
    encoder = build_encoder("timm", 3, model=model, depth=2)
    decoder = build_decoder("unet-pyramid", encoder.out_channels, 3, width=4)
    decoder(encoder(torch.rand(2, 3, 16, 16)), (16, 16)).square().sum().backward()
    assert all(p.grad is not None for module in (encoder, decoder) for p in module.parameters())


@pytest.mark.parametrize(
    ("channels", "options", "message"),
    [
        (15, {}, "three channels"),
        (3, {"model": "efficientnet_lite"}, "timm has no model"),
        (3, {"model": "resnet10t", "output_stride": 7}, "at output stride 7"),
        (3, {"model": "vit_tiny_patch16_224"}, "any size[\\s\\S]*encoder 'vit'"),
        (3, {"model": "convnext_atto", "depth": 5}, "does not give a pyramid of 5 maps"),
        (3, {"model": "convnext_atto", "depth": 0}, "cannot give 0 levels"),
    ],
)
def test_bad_requests(channels: int, options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        build_encoder("timm", channels, **options)


def test_a_single_map_is_refused() -> None:
    with pytest.raises(RequestError, match="pyramid of maps"):
        build_decoder("unet-pyramid", 15, 3)
