"""UPerNet over the maps of any image encoder."""

from __future__ import annotations

from segmentation_models_pytorch.decoders.upernet.decoder import UPerNetDecoder
from torch import Tensor, nn

from hsray.models.pyramid_maps import check_pyramid, coarse_levels, is_flat, logits_at, take_one_image
from hsray.models.registry import register_decoder


@register_decoder("upernet")
class UPerNet(nn.Module):
    """(maps, size_HW) → logits_BKHW: pyramid pooling and a feature pyramid (arXiv 1807.10221) over maps of stride ≥ 4.

    The decoder of segmentation_models_pytorch. Maps of a plain ViT, which share one stride, are first brought to
    four, two, one and one half times their size by transposed convolutions and pooling, as BEiT (arXiv 2106.08254) does
    for dense tasks. Raises RequestError with less than two maps.
    """

    takes = "pyramid"

    def __init__(
        self,
        in_channels: int | tuple[int, ...],
        num_classes: int,
        strides: tuple[int, ...] | None = None,
        width: int = 256,
    ) -> None:
        super().__init__()
        channels = check_pyramid(in_channels, "upernet")
        self.levels = coarse_levels(strides, "upernet")
        used = [channels[level] for level in self.levels]
        flat = strides is not None and is_flat(tuple(strides[level] for level in self.levels))
        steps = [len(used) - 2 - index if flat else 0 for index in range(len(used))]
        self.rescale = nn.ModuleList(_rescale(width, step) for width, step in zip(used, steps, strict=True))
        # It leaves out the first two maps, which its own encoders have at strides 1 and 2.
        self.decoder = UPerNetDecoder((0, 0, *used), encoder_depth=len(used) + 1, decoder_channels=width)
        self.classify = nn.Conv2d(width, num_classes, 1)
        take_one_image(self)

    def forward(self, maps: list[Tensor], size_HW: tuple[int, int]) -> Tensor:
        used = [rescale(maps[level]) for rescale, level in zip(self.rescale, self.levels, strict=True)]
        return logits_at(self.classify(self.decoder([maps[0], maps[0], *used])), maps[0], size_HW)


def _rescale(channels: int, step: int) -> nn.Module:
    """`step` doublings of a map's sides; halvings where it is negative."""
    if step < 0:
        return nn.MaxPool2d(2**-step, ceil_mode=True)
    layers: list[nn.Module] = []
    for index in range(step):
        layers += [nn.BatchNorm2d(channels), nn.GELU()] if index else []
        layers.append(nn.ConvTranspose2d(channels, channels, 2, stride=2))
    return nn.Sequential(*layers)
