"""DPT over the maps of any image encoder."""

from __future__ import annotations

from segmentation_models_pytorch.decoders.dpt.decoder import DPTDecoder, DPTSegmentationHead
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models.patches import pad_to
from hsray.models.pyramid_maps import check_pyramid, coarse_levels, is_flat, logits_at, take_one_image
from hsray.models.registry import register_decoder

_PATCH = 16  # the grid of a plain ViT counts as if its patches had this side


@register_decoder("dpt")
class DPT(nn.Module):
    """(maps, size_HW) → logits_BKHW: maps reassembled at strides 4, 8, 16, 32 and fused from the coarsest up
    (arXiv 2103.13413).

    The decoder and head of segmentation_models_pytorch, without the readout of class tokens, which a pyramid does not
    hold. Patches of any side are taken: the grid is what counts. Raises RequestError with less than two maps, and for
    strides that are no power of two.
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
        channels = check_pyramid(in_channels, "dpt")
        self.levels = coarse_levels(strides, "dpt")
        assert strides is not None
        used = tuple(strides[level] for level in self.levels)
        if is_flat(used):
            used = (_PATCH,) * len(used)
        if any(stride & (stride - 1) for stride in used):
            raise RequestError(
                f"the decoder 'dpt' takes maps whose strides are powers of two, not {used}",
                do="use decoder linear or upernet",
            )
        coarsest = max(*used, 2 ** (len(used) + 1))
        self.multiples = [coarsest // stride for stride in used]  # every fused map is twice as large as the one before
        self.decoder = DPTDecoder(
            [channels[level] for level in self.levels],
            used,
            encoder_has_prefix_tokens=False,
            readout="ignore",
            intermediate_channels=[width * min(2**index, 4) for index in range(len(used))],
            fusion_channels=width,
        )
        self.head = DPTSegmentationHead(width, num_classes, upsampling=1.0)
        take_one_image(self)

    def forward(self, maps: list[Tensor], size_HW: tuple[int, int]) -> Tensor:
        finest = maps[self.levels[0]]
        used = [pad_to(maps[level], multiple) for level, multiple in zip(self.levels, self.multiples, strict=True)]
        logits_BKhw = self.head(self.decoder(used, [None] * len(used)))
        # What was padded is cut in proportion, so that pixels stay where they are.
        height, width = (
            side * whole // padded
            for side, whole, padded in zip(finest.shape[2:], logits_BKhw.shape[2:], used[0].shape[2:], strict=True)
        )
        return logits_at(logits_BKhw[:, :, :height, :width], maps[0], size_HW)
