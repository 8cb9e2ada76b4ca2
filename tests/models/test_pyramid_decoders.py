"""Decoders of pyramids over encoders of every shape: sizes, gradients, one image, and what does not go together."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models import build_decoder, build_encoder

ENCODERS = {
    "vit": ("vit", {"model": "vit_tiny_patch16_224", "depth": 4}),
    "vit14": ("vit", {"model": "eva02_tiny_patch14_224", "depth": 4}),
    "convnext": ("timm", {"model": "convnext_atto"}),
    "convnext16": ("timm", {"model": "convnext_atto", "output_stride": 16}),
    "resnet16": ("timm", {"model": "resnet10t", "output_stride": 16}),
    "mobilenet8": ("timm", {"model": "mobilenetv2_050", "output_stride": 8}),
    "swin": ("timm", {"model": "swin_tiny_patch4_window7_224", "depth": 2}),
    "deeplab": ("deeplabv3plus-hs3", {}),
}
FIT = [
    *[(name, "linear", {}) for name in ("vit", "vit14", "convnext16", "swin", "deeplab")],
    ("vit", "linear", {"maps": 3}),
    ("convnext", "linear", {"maps": 4}),
    *[(name, decoder, {"width": 8}) for name in ("vit14", "convnext", "mobilenet8") for decoder in ("upernet", "dpt")],
    ("swin", "upernet", {"width": 8}),
    *[(name, "deeplabv3plus", {"width": 8}) for name in ("convnext", "convnext16", "resnet16", "mobilenet8")],
    ("convnext16", "unet-pyramid", {"width": 4}),
]
CLASSES = 5


def built(name: str, decoder: str, options: dict[str, object]) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    kind, own = ENCODERS[name]
    encoder = build_encoder(kind, 3, **own)
    return encoder, build_decoder(decoder, encoder.out_channels, CLASSES, strides=encoder.strides, **options)


@pytest.mark.parametrize(("name", "decoder", "options"), FIT, ids=lambda value: value if isinstance(value, str) else "")
def test_logits_and_gradients(name: str, decoder: str, options: dict[str, object]) -> None:
    encoder, decode = built(name, decoder, options)
    for size in ((37, 53), (5, 9)):  # a batch of one trains as well: pooling leaves a single value a channel
        logits = decode(encoder(torch.rand(1, 3, *size)), size)
        assert logits.shape == (1, CLASSES, *size)
        assert torch.isfinite(logits).all()
    decode(encoder(torch.rand(2, 3, 37, 53)), (37, 53)).square().sum().backward()
    # Distributed training waits for ever on parameters that get no gradient.
    idle = [key for module in (encoder, decode) for key, p in module.named_parameters() if p.grad is None]
    assert idle == []


@pytest.mark.parametrize(("decoder", "level"), [("linear", -1), ("upernet", 1), ("dpt", 1)])
@pytest.mark.parametrize("cell", [(4, 4), (1, 7), (8, 0)])
@torch.no_grad()
def test_what_moves_lies_where_the_map_moved(decoder: str, level: int, cell: tuple[int, int]) -> None:
    # Padding and cutting must not shift or stretch: a grid of nine is odd, which DPT pads and UPerNet halves.
    torch.manual_seed(1)
    options = {} if decoder == "linear" else {"width": 8}
    decode = build_decoder(decoder, (3, 8, 8, 8, 8), 2, strides=(1, 14, 14, 14, 14), **options).eval()
    side = 9 * 14
    maps = [torch.zeros(1, 3, side, side), *(torch.rand(1, 8, 9, 9) for _ in range(4))]
    before_HW = decode(maps, (side, side))[0, 0]
    maps[level] = maps[level].clone()
    maps[level][:, :, cell[0], cell[1]] += 3
    moved_HW = (decode(maps, (side, side))[0, 0] - before_HW).square()
    for total, at in zip((moved_HW.sum(dim=1), moved_HW.sum(dim=0)), cell, strict=True):
        centre = float(total @ (torch.arange(side) + 0.5) / total.sum())
        assert abs(centre / 14 - (at + 0.5)) < 1


@pytest.mark.parametrize(
    ("name", "decoder", "options", "message"),
    [
        ("vit", "deeplabv3plus", {}, "stride 4[\\s\\S]*linear, upernet or dpt"),
        ("vit", "unet-pyramid", {}, "all are at stride 16[\\s\\S]*linear, upernet or dpt"),
        ("deeplab", "upernet", {}, "needs two maps"),
        ("deeplab", "dpt", {}, "needs two maps"),
        ("vit", "linear", {"maps": 5}, "5 maps cannot be taken"),
        ("vit", "linear", {"maps": 0}, "0 maps cannot be taken"),
        ("vit", "upernet", {"depth": 3}, "no option depth"),
    ],
)
def test_what_does_not_go_together(name: str, decoder: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        built(name, decoder, options)


@pytest.mark.parametrize("decoder", ["linear", "upernet", "dpt", "deeplabv3plus"])
def test_a_single_map_is_refused(decoder: str) -> None:
    with pytest.raises(RequestError, match="pyramid of maps"):
        build_decoder(decoder, 15, 3, strides=None)


def test_strides_that_halve_unevenly_are_refused_by_dpt() -> None:
    with pytest.raises(RequestError, match="powers of two"):
        build_decoder("dpt", (3, 8, 8), 2, strides=(1, 7, 14))


def test_one_map_without_norm_is_the_classifier_alone() -> None:
    head = build_decoder("linear", (3, 6), 2, norm=False).train()
    image, a, b = torch.rand(1, 3, 8, 8), torch.rand(1, 6, 2, 2), torch.rand(1, 6, 2, 2)

    def on(one: Tensor) -> Tensor:
        return head([image, one], (8, 8))

    torch.testing.assert_close(on(a) + on(b), on(a + b) + on(torch.zeros_like(a)))
