"""Image encoders from timm that give a pyramid of maps, and a U-Net decoder over such a pyramid."""

from __future__ import annotations

from typing import Any

import timm
import torch
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from timm.models import FeatureInfo
from timm.models.efficientnet import EfficientNetFeatures
from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models.registry import register_decoder, register_encoder


@register_encoder("timm")
class TimmPyramid(nn.Module):
    """x_BCHW (three channels, RGB in 0–1) → maps, the padded input first, then finer to coarser.

    `model` is a timm name; `depth` of its levels are used. The normalisation its weights were trained with is
    sealed inside. Sizes that the stride does not divide are padded on the right and at the bottom by repeating
    the border; the decoder cuts its logits back. Raises RequestError for other than three channels.
    """

    mean_C: Tensor
    std_C: Tensor
    takes = "image"
    gives = "pyramid"
    normalise = "unit"  # pictures in 0-1
    adaptable = ("conv_pw", "conv_pwl", "conv1", "conv2", "conv3", "qkv", "proj", "fc1", "fc2")
    # A checkpoint may hold anything beyond the levels in use: deeper levels, a classifier.
    spare_tensors = ("",)

    def __init__(
        self,
        in_channels: int,
        wavelengths_nm: Tensor | None = None,
        model: str = "tf_efficientnet_lite0",
        depth: int = 5,
    ) -> None:
        super().__init__()
        if in_channels != 3:
            raise RequestError(
                f"the encoder 'timm' takes three channels (RGB), not {in_channels}",
                do="use the pseudo-RGB view, or a stem that leads to three channels",
            )
        self.model = model
        backbone, levels = _backbone(model, depth)
        self.backbone = backbone
        self.out_channels = (in_channels, *levels.channels())
        self.strides = (1, *levels.reduction())
        self.stride = max(self.strides)
        cfg = backbone.pretrained_cfg
        self.register_buffer("mean_C", torch.tensor(cfg["mean"]), persistent=False)
        self.register_buffer("std_C", torch.tensor(cfg["std"]), persistent=False)

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Names of a bare timm checkpoint, or of a package whose layers have other names in the same order."""
        if any(name.startswith("backbone.") for name in tensors):
            return tensors
        own = [name for name in self.state_dict() if not name.endswith("num_batches_tracked")]
        if not any(f"backbone.{name}" in own for name in tensors):
            given = [tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")]
            return dict(zip(own, given, strict=False))
        return {f"backbone.{name}": tensor for name, tensor in tensors.items()}

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        height, width = x_BCHW.shape[2:]
        missing = (0, -width % self.stride, 0, -height % self.stride)
        if any(missing):
            x_BCHW = functional.pad(x_BCHW, missing, mode="replicate")
        x_BCHW = (x_BCHW - self.mean_C[:, None, None]) / self.std_C[:, None, None]
        return [x_BCHW, *self.backbone(x_BCHW)]


@register_decoder("unet-pyramid")
class UnetPyramid(nn.Module):
    """(maps, size_HW) → logits_BKHW: the U-Net decoder of segmentation_models_pytorch and a 3×3 convolution.

    `width` channels at full resolution, twice as many a level below, and so on.
    """

    takes = "pyramid"

    def __init__(self, in_channels: int | tuple[int, ...], num_classes: int, width: int = 16) -> None:
        super().__init__()
        if not isinstance(in_channels, tuple) or len(in_channels) < 2:
            raise RequestError(
                f"the decoder 'unet-pyramid' takes a pyramid of maps, not {in_channels} channels",
                do="choose an encoder that gives a pyramid, or a decoder that takes one map",
            )
        levels = len(in_channels) - 1
        self.decoder = UnetDecoder(in_channels, [width * 2**level for level in reversed(range(levels))], levels)
        self.head = nn.Conv2d(width, num_classes, 3, padding=1)

    def forward(self, maps: list[Tensor], size_HW: tuple[int, int]) -> Tensor:
        return self.head(self.decoder(maps))[:, :, : size_HW[0], : size_HW[1]]


def _backbone(model: str, depth: int) -> tuple[Any, FeatureInfo]:
    if not timm.is_model(model):
        close = ", ".join(timm.list_models(f"*{model.split('_', maxsplit=1)[0]}*")[:8])
        raise RequestError(
            f"timm has no model '{model}'", do=f"close to it: {close}" if close else "see timm.list_models()"
        )
    try:
        backbone: Any = timm.create_model(model, pretrained=False, features_only=True, out_indices=tuple(range(depth)))
    except (AssertionError, IndexError, AttributeError, RuntimeError, TypeError) as error:
        raise RequestError(
            f"timm's '{model}' does not give a pyramid of {depth} maps ({error})",
            do="choose another model or a smaller encoder depth",
        ) from error
    levels = backbone.feature_info
    if isinstance(backbone, EfficientNetFeatures):
        # timm keeps and runs the stages behind the last map in use; nothing would ever learn there.
        stages = levels.get_dicts(["stage"])[-1]["stage"]
        backbone.blocks = backbone.blocks[:stages]
    return backbone, levels
