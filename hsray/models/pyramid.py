"""Image encoders from timm that give a pyramid of maps, and a U-Net decoder over such a pyramid."""

from __future__ import annotations

from typing import Any

import timm
from segmentation_models_pytorch.decoders.unet.decoder import UnetDecoder
from timm.layers import Format
from timm.models import FeatureInfo
from timm.models.efficientnet import EfficientNetFeatures
from timm.models.mobilenetv3 import MobileNetV3Features
from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models.patches import pad_to
from hsray.models.pyramid_maps import check_pyramid, is_flat, take_one_image
from hsray.models.registry import register_decoder, register_encoder
from hsray.models.rgb import RgbScale, check_rgb, inflated


@register_encoder("timm")
class TimmPyramid(nn.Module):
    """x_BCHW (three channels, RGB in 0–1) → maps, the padded input first, then finer to coarser.

    `model` is a timm name of a convolutional or hierarchical model; `depth` of its levels are used; `output_stride`
    (8 or 16, where timm has it) replaces the strides beyond it by dilation. The normalisation its weights were trained
    with is sealed inside. Sizes that the stride does not divide are padded on the right and at the bottom by repeating
    the border; the decoder cuts its logits back. `inflate` takes any number of channels: RGB weights are inflated.

    Raises:
        RequestError: other than three channels without `inflate`; a model, depth or stride that timm does not have.
    """

    takes = "image"
    gives = "pyramid"
    family = "rgb"  # what timm's weights were learned from
    normalise = "unit"  # pictures in 0-1
    adaptable = ("conv_pw", "conv_pwl", "conv1", "conv2", "conv3", "qkv", "proj", "fc1", "fc2")
    # A checkpoint may hold anything beyond the levels in use: deeper levels, a classifier.
    spare_tensors = ("",)

    def __init__(
        self,
        in_channels: int,
        wavelengths_nm: Tensor | None = None,
        model: str = "tf_efficientnet_lite0",
        depth: int | None = None,
        output_stride: int | None = None,
        inflate: bool = False,
    ) -> None:
        super().__init__()
        check_rgb(in_channels, inflate, "the encoder 'timm'")
        self.model = model
        backbone, levels = _backbone(model, in_channels, depth, output_stride)
        self.backbone = backbone
        self.out_channels = (in_channels, *levels.channels())
        self.strides = (1, *levels.reduction())
        self.stride = max(self.strides)
        self.channels_last = getattr(backbone, "output_fmt", Format.NCHW) == Format.NHWC  # as in Swin
        self.scale = RgbScale(backbone.pretrained_cfg, in_channels)

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Names of a bare timm checkpoint, or of a package whose layers have other names in the same order."""
        own = {name.removeprefix("backbone."): tensor for name, tensor in self.state_dict().items()}
        # timm writes the first dot of a stage as an underscore where it gives features only.
        named = {_own_name(name.removeprefix("backbone."), own): tensor for name, tensor in tensors.items()}
        if not own.keys() & named.keys():
            order = [name for name in own if not name.endswith("num_batches_tracked")]
            given = [tensor for name, tensor in tensors.items() if not name.endswith("num_batches_tracked")]
            named = dict(zip(order, given, strict=False))
        return {f"backbone.{name}": tensor for name, tensor in inflated(named, own).items()}

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        x_BCHW = pad_to(x_BCHW, self.stride)
        if x_BCHW.shape[2] == x_BCHW.shape[3] == self.stride:
            # Batch norm cannot train on one image whose deepest map is a single value.
            x_BCHW = functional.pad(x_BCHW, (0, self.stride, 0, 0), mode="replicate")
        x_BCHW = self.scale(x_BCHW)
        try:
            maps = self.backbone(x_BCHW)
        except AssertionError as error:  # fixed windows or grids
            size = f"{x_BCHW.shape[2]} × {x_BCHW.shape[3]}"
            raise RequestError(
                f"timm's '{self.model}' does not take images of {size} pixels ({error})",
                do="choose another model",
            ) from error
        return [x_BCHW, *(one.permute(0, 3, 1, 2) if self.channels_last else one for one in maps)]


@register_decoder("unet-pyramid")
class UnetPyramid(nn.Module):
    """(maps, size_HW) → logits_BKHW: the U-Net decoder of segmentation_models_pytorch and a 3×3 convolution.

    `width` channels at full resolution, twice as many a level below, and so on.
    """

    takes = "pyramid"

    def __init__(
        self,
        in_channels: int | tuple[int, ...],
        num_classes: int,
        strides: tuple[int, ...] | None = None,
        width: int = 16,
    ) -> None:
        super().__init__()
        channels = check_pyramid(in_channels, "unet-pyramid")
        if strides is not None and len(strides) > 2 and is_flat(strides[1:]):
            raise RequestError(
                f"the decoder 'unet-pyramid' climbs from coarse maps to fine ones, but all are at stride {strides[1]}",
                do="use decoder linear, upernet or dpt with a plain ViT",
            )
        levels = len(channels) - 1
        self.decoder = UnetDecoder(channels, [width * 2**level for level in reversed(range(levels))], levels)
        self.head = nn.Conv2d(width, num_classes, 3, padding=1)
        take_one_image(self)

    def forward(self, maps: list[Tensor], size_HW: tuple[int, int]) -> Tensor:
        return self.head(self.decoder(maps))[:, :, : size_HW[0], : size_HW[1]]


def known_model(model: str) -> str:
    """The name, where timm has it. Raises RequestError with names that are close to it."""
    if not timm.is_model(model):
        close = ", ".join(timm.list_models(f"*{model.split('_', maxsplit=1)[0]}*")[:8])
        raise RequestError(
            f"timm has no model '{model}'", do=f"close to it: {close}" if close else "see timm.list_models()"
        )
    return model


def _own_name(name: str, own: dict[str, Tensor]) -> str:
    return name if name in own else name.replace(".", "_", 1)


def _built(model: str, in_channels: int, options: dict[str, Any]) -> Any:
    return timm.create_model(known_model(model), pretrained=False, features_only=True, in_chans=in_channels, **options)


def _backbone(model: str, in_channels: int, depth: int | None, output_stride: int | None) -> tuple[Any, FeatureInfo]:
    options: dict[str, Any] = {} if output_stride is None else {"output_stride": output_stride}
    if depth is not None:
        if not isinstance(depth, int) or depth < 1:
            raise RequestError(f"the encoder 'timm' cannot give {depth} levels", do="choose encoder depth from 1")
        options["out_indices"] = tuple(range(depth))
    try:
        backbone = _built(model, in_channels, options)
        if any(getattr(module, "strict_img_size", False) for module in backbone.modules()):
            backbone = _built(model, in_channels, {**options, "strict_img_size": False})
    except (AssertionError, IndexError, AttributeError, RuntimeError, TypeError, ValueError) as error:
        asked = f"{depth or 'all its'} maps" + (f" at output stride {output_stride}" if output_stride else "")
        raise RequestError(
            f"timm's '{model}' does not give a pyramid of {asked} for images of any size ({error})",
            do="choose another model, a smaller encoder depth or another output_stride; plain ViTs: encoder 'vit'",
        ) from error
    levels = backbone.feature_info
    if isinstance(backbone, EfficientNetFeatures | MobileNetV3Features):
        # timm keeps and runs the stages behind the last map in use; nothing would ever learn there.
        stages = levels.get_dicts(["stage"])[-1]["stage"]
        backbone.blocks = backbone.blocks[:stages]
    return backbone, levels
