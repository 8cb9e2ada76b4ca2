"""Plain vision transformers of timm as image encoders: DINOv2, DINOv3, SigLIP 2, any VisionTransformer or Eva."""

from __future__ import annotations

from typing import Any

import timm
from timm.layers import PatchEmbed
from timm.models import eva, vision_transformer
from timm.models.eva import Eva
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models.patches import level_depths, pad_to
from hsray.models.pyramid import known_model
from hsray.models.registry import register_encoder
from hsray.models.rgb import RgbScale, check_rgb, inflated


@register_encoder("vit")
class TimmViT(nn.Module):
    """x_BCHW (three channels, RGB in 0–1) → maps: the padded input, then `levels` maps of one stride, the patch.

    `model` is a timm name, with or without a tag (`vit_base_patch16_siglip_224.v2_webli`). Maps are taken after evenly
    spaced blocks, the last one always, through its final norm. `depth` keeps that many of the first blocks; `patch`
    asks for another side of the patches than the weights have, and resamples them. Images may have any size: position
    embeddings are resampled to their grid, and sizes that the patch does not divide are padded on the right and at the
    bottom by repeating the border; the decoder cuts its logits back. `inflate` takes any number of channels: the RGB
    patch embedding is inflated. The normalisation of the weights is sealed inside.

    Raises:
        RequestError: other than three channels without `inflate`; a name that is no plain ViT of timm; levels or
            depth that it cannot give.
    """

    takes = "image"
    gives = "pyramid"
    family = "rgb"  # what timm's weights were learned from
    normalise = "unit"  # pictures in 0-1
    adaptable = ("qkv", "q_proj", "k_proj", "v_proj", "proj", "fc1", "fc1_g", "fc1_x", "fc2")
    # A checkpoint may hold anything beyond the blocks in use: deeper ones, a classifier, a pooling head.
    spare_tensors = ("",)

    def __init__(
        self,
        in_channels: int,
        wavelengths_nm: Tensor | None = None,
        model: str = "vit_small_patch14_dinov2",
        levels: int = 4,
        depth: int | None = None,
        patch: int | None = None,
        inflate: bool = False,
    ) -> None:
        super().__init__()
        check_rgb(in_channels, inflate, "the encoder 'vit'")
        self.model = model
        self.vit = _plain_vit(model, in_channels, depth, patch)
        self.indices = level_depths(len(self.vit.blocks), levels)
        self.vit.prune_intermediate_layers(list(self.indices))  # no classifier: nothing would ever learn there
        self.stride: int = self.vit.patch_embed.feat_ratio()
        self.out_channels = (in_channels, *(self.vit.embed_dim for _ in self.indices))
        self.strides = (1, *(self.stride for _ in self.indices))
        self.scale = RgbScale(self.vit.pretrained_cfg, in_channels)

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Names and shapes of a timm checkpoint, or of the authors' where timm knows them: patches and position
        embeddings of another size are resampled, an RGB patch embedding is inflated.
        """
        bare = {name.removeprefix("vit."): tensor for name, tensor in tensors.items()}
        convert = eva.checkpoint_filter_fn if isinstance(self.vit, Eva) else vision_transformer.checkpoint_filter_fn
        fitting = inflated(convert(bare, self.vit), self.vit.state_dict())
        return {f"vit.{name}": tensor for name, tensor in fitting.items()}

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        x_BCHW = self.prepared(x_BCHW)
        maps = self.vit.forward_intermediates(x_BCHW, indices=list(self.indices), norm=True, intermediates_only=True)
        return [x_BCHW, *maps]

    def prepared(self, x_BCHW: Tensor) -> Tensor:
        """The image padded to whole patches and normalised as the weights want it."""
        return self.scale(pad_to(x_BCHW, self.stride))

    def tokens(self, prepared_BCHW: Tensor) -> tuple[Tensor, Tensor | None]:
        """What the first block gets: tokens_BND, class and register tokens first, and rotary embeddings if any."""
        embedded = self.vit._pos_embed(self.vit.patch_embed(prepared_BCHW))
        tokens_BND, rotary = embedded if isinstance(self.vit, Eva) else (embedded, None)
        return self.vit.norm_pre(tokens_BND), rotary

    def run_blocks(self, tokens_BND: Tensor, rotary: Tensor | None, start: int, stop: int) -> Tensor:
        """tokens_BND through the blocks from `start` up to, and without, `stop`."""
        mixed = getattr(self.vit, "rope_mixed", False)  # rotary embeddings of every block's own
        for index in range(start, stop):
            block = self.vit.blocks[index]
            if isinstance(self.vit, Eva):
                tokens_BND = block(tokens_BND, rope=rotary[index] if mixed and rotary is not None else rotary)
            else:
                tokens_BND = block(tokens_BND)
        return tokens_BND


def _plain_vit(model: str, in_channels: int, depth: int | None, patch: int | None) -> Any:
    options: dict[str, Any] = {
        name: value for name, value in (("depth", depth), ("patch_size", patch)) if value is not None
    }
    try:
        vit: Any = timm.create_model(
            known_model(model), pretrained=False, in_chans=in_channels, dynamic_img_size=True, **options
        )
    except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError, ZeroDivisionError) as error:
        raise _not_plain(model, str(error)) from error
    if not isinstance(vit, VisionTransformer | Eva) or type(vit.patch_embed) is not PatchEmbed:
        raise _not_plain(model, f"it is a {type(vit).__name__}")
    return vit


def _not_plain(model: str, why: str) -> RequestError:
    return RequestError(
        f"the encoder 'vit' cannot be made of timm's '{model}' with these options ({why})",
        do="choose a plain ViT of timm and its options; convolutional and hierarchical models: encoder 'timm'",
    )
