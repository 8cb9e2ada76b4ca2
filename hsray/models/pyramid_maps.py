"""What decoders of pyramids share: which maps they use, logits at the size of the image, and batch norm of few."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError

FINEST = 4  # the stride at which UPerNet, DPT and DeepLabV3+ put their logits


def check_pyramid(in_channels: int | tuple[int, ...], what: str) -> tuple[int, ...]:
    """The channels of a pyramid of maps. Raises RequestError for a single map."""
    if not isinstance(in_channels, tuple) or len(in_channels) < 2:
        raise RequestError(
            f"the decoder '{what}' takes a pyramid of maps, not {in_channels} channels",
            do="choose an encoder that gives a pyramid, or a decoder that takes one map",
        )
    return in_channels


def is_flat(strides: tuple[int, ...]) -> bool:
    """Do all maps have one stride, as those of a plain ViT?"""
    return len(set(strides)) == 1


def coarse_levels(strides: tuple[int, ...] | None, what: str) -> list[int]:
    """Indices of the maps at stride 4 or coarser; these decoders need two. Raises RequestError."""
    if strides is None:
        raise RequestError(f"the decoder '{what}' needs the strides of its maps", do="choose an encoder that has them")
    found = [index for index, stride in enumerate(strides) if stride >= FINEST]
    if len(found) < 2:
        raise RequestError(
            f"the decoder '{what}' needs two maps at stride {FINEST} or coarser, and gets the strides {strides}",
            do="use an encoder with more levels, or decoder linear or unet-pyramid",
        )
    return found


def logits_at(logits_BKhw: Tensor, image_BCHW: Tensor, size_HW: tuple[int, int]) -> Tensor:
    """Logits drawn bilinearly to the padded image, the first of the maps, and cut to the image's own size."""
    drawn_BKHW = functional.interpolate(logits_BKhw, image_BCHW.shape[2:], mode="bilinear", align_corners=False)
    return drawn_BKHW[:, :, : size_HW[0], : size_HW[1]]


class BatchNormOfFew(nn.BatchNorm2d):
    """Batch norm that takes a single value a channel, as pooling gives for one image: it has no deviation, and is
    scaled by the running statistics.
    """

    def forward(self, x_BCHW: Tensor) -> Tensor:
        if self.training and x_BCHW.numel() == x_BCHW.shape[1]:
            return functional.batch_norm(
                x_BCHW, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps
            )
        return super().forward(x_BCHW)


def take_one_image(module: nn.Module) -> None:
    """Let every batch norm in `module` take a single value a channel. Names, weights and statistics stay."""
    for child in module.modules():
        if type(child) is nn.BatchNorm2d:
            child.__class__ = BatchNormOfFew
