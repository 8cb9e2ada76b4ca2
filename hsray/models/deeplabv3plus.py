"""The head of DeepLabV3+ over the maps of any convolutional or hierarchical encoder."""

from __future__ import annotations

from segmentation_models_pytorch.decoders.deeplabv3.decoder import DeepLabV3PlusDecoder
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models.pyramid_maps import FINEST, check_pyramid, coarse_levels, logits_at, take_one_image
from hsray.models.registry import register_decoder

_RATES = {8: (12, 24, 36), 16: (6, 12, 18)}  # as in arXiv 1802.02611


@register_decoder("deeplabv3plus")
class DeepLabV3PlusHead(nn.Module):
    """(maps, size_HW) → logits_BKHW: atrous pyramid pooling on the last map, joined with the map at stride 4.

    The decoder of segmentation_models_pytorch (arXiv 1802.02611), with separable convolutions. The encoder's
    output_stride of 16 or 8 gives it the maps it is known with; the rates follow. Raises RequestError without a map at
    stride 4.
    """

    takes = "pyramid"

    def __init__(
        self,
        in_channels: int | tuple[int, ...],
        num_classes: int,
        strides: tuple[int, ...] | None = None,
        width: int = 256,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        channels = check_pyramid(in_channels, "deeplabv3plus")
        coarse_levels(strides, "deeplabv3plus")
        assert strides is not None
        if FINEST not in strides:
            raise RequestError(
                f"the decoder 'deeplabv3plus' needs a map at stride {FINEST}, and gets the strides {strides}",
                do="use decoder linear, upernet or dpt with a plain ViT",
            )
        self.low = strides.index(FINEST)
        rates = _RATES[8] if strides[-1] <= 8 else _RATES[16]
        self.decoder = DeepLabV3PlusDecoder(
            (0, 0, channels[self.low], channels[-1]), 4, width, rates, 16, aspp_separable=True, aspp_dropout=dropout
        )
        self.decoder.up.scale_factor = float(strides[-1] // FINEST)
        self.classify = nn.Conv2d(width, num_classes, 1)
        take_one_image(self)

    def forward(self, maps: list[Tensor], size_HW: tuple[int, int]) -> Tensor:
        fused_BDhw = self.decoder([maps[0], maps[0], maps[self.low], maps[-1]])
        return logits_at(self.classify(fused_BDhw), maps[0], size_HW)
