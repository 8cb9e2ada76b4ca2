"""A frozen ViT that sees pseudo-RGB, beside a stream that sees all bands; the two exchange what they know.

After HSI-Adapter (Hurtado, Mohan and Valada, arXiv 2509.20107), which builds on ViT-Adapter (Chen et al., arXiv
2205.08534, section 3): a spectral transformer, a spatial prior that knows the spectrum, and gated cross-attention in
both directions before and after every stage of a frozen ViT. Written from the papers' descriptions, and simpler:
- the ViT sees the bands nearest to red, green and blue, which its patch embedding was trained for, not hyperspectral
  features;
- the second stream has one scale, the ViT's own grid, not three; cross-attention is dense, not deformable;
- the spectral transformer runs once on the mean spectrum of every patch.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hsray.datasets.pseudorgb import rgb_bands
from hsray.errors import RequestError
from hsray.models.patches import as_map, needed_wavelengths, pad_to
from hsray.models.registry import register_encoder
from hsray.models.spectral_transformer import SpectralTransformer
from hsray.models.vit import TimmViT

_HEADS = 6
_GROUPS = 8


class CrossAttention(nn.Module):
    """queries_BND and what they look at, context_BMC → what is to be added to the queries, scaled by a learned gate.

    The gate starts at zero where the queries must not change at first.
    """

    def __init__(self, query_width: int, context_width: int, width: int, gate: float) -> None:
        super().__init__()
        self.norm_query, self.norm_context = nn.LayerNorm(query_width), nn.LayerNorm(context_width)
        self.query = nn.Linear(query_width, width)
        self.key_value = nn.Linear(context_width, 2 * width)
        self.out = nn.Linear(width, query_width)
        self.gate_D = nn.Parameter(torch.full((query_width,), gate))

    def forward(self, queries_BND: Tensor, context_BMC: Tensor) -> Tensor:
        keys, values = self.key_value(self.norm_context(context_BMC)).chunk(2, dim=-1)
        queries = self.query(self.norm_query(queries_BND))
        seen_BHNd = functional.scaled_dot_product_attention(_split(queries), _split(keys), _split(values))
        return self.gate_D * self.out(seen_BHNd.transpose(1, 2).flatten(2))


class SpatialPrior(nn.Module):
    """x_BLHW and what is known of its patches' spectra, spectra_BDhw → prior_BDhw on the grid of patches.

    Convolutions as in ViT-Adapter (section 3.2) on a mixture of the bands; the spectra open and shut its channels.
    """

    def __init__(self, bands: int, width: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(
            *_convolve(bands, 32, kernel=1),
            *_convolve(32, 64, stride=2),
            *_convolve(64, 64),
            *_convolve(64, 64, stride=2),
        )
        self.down = nn.Sequential(*_convolve(64, 128), *_convolve(128, width, stride=2))
        self.gate = nn.Conv2d(width, width, 1)
        self.project = nn.Conv2d(width, width, 1)

    def forward(self, x_BLHW: Tensor, spectra_BDhw: Tensor) -> Tensor:
        height, width = spectra_BDhw.shape[2:]
        # Twice the grid, whatever the side of a patch.
        fine = functional.adaptive_avg_pool2d(self.stem(x_BLHW), (2 * height, 2 * width))
        return self.project(self.down(fine)) * self.gate(spectra_BDhw).sigmoid() + spectra_BDhw


class Stage(nn.Module):
    """One exchange: the second stream is injected into the ViT's tokens, and learns from what the ViT makes of them."""

    def __init__(self, vit_width: int, width: int) -> None:
        super().__init__()
        self.inject = CrossAttention(vit_width, width, width, gate=0.0)
        self.extract = CrossAttention(width, vit_width, width, gate=1.0)
        self.mlp = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))

    def after(self, stream_BND: Tensor, tokens_BND: Tensor) -> Tensor:
        """The second stream after the ViT's stage."""
        stream_BND = stream_BND + self.extract(stream_BND, tokens_BND)
        return stream_BND + self.mlp(stream_BND)


@register_encoder("hsi-adapter")
class HSIAdapter(nn.Module):
    """x_BLHW of L bands (unit range) at known wavelengths → maps as those of the encoder `vit`, enriched by all bands.

    `model`, `levels`, `depth` and `patch` are those of `vit`; weights and adapter belong to the ViT alone, all around
    it learns. `width` is that of the second stream, `spectral_width` and `spectral_depth` those of the transformer over
    bands. Every gate starts at zero: the first maps are exactly the ViT's. Raises RequestError without wavelengths.
    """

    takes = "image"
    gives = "pyramid"
    family = "rgb"
    normalise = "unit"
    pretrained_part = "vit"

    def __init__(
        self,
        in_channels: int,
        wavelengths_nm: Tensor | None = None,
        model: str = "vit_small_patch14_dinov2",
        levels: int = 4,
        depth: int | None = None,
        patch: int | None = None,
        width: int = 192,
        spectral_width: int = 64,
        spectral_depth: int = 2,
    ) -> None:
        super().__init__()
        nm_L = needed_wavelengths(wavelengths_nm, in_channels, "the encoder 'hsi-adapter'")
        if not isinstance(width, int) or width < 1 or width % (_HEADS * _GROUPS):
            raise RequestError(
                f"the second stream of the encoder 'hsi-adapter' cannot be {width} wide",
                do=f"choose encoder width: a multiple of {_HEADS * _GROUPS}",
            )
        self.vit = TimmViT(3, None, model=model, levels=levels, depth=depth, patch=patch)
        self.rgb = list(rgb_bands(nm_L.numpy()))
        self.spectra = SpectralTransformer(1, nm_L, spectral_width, spectral_depth)
        self.widen = nn.Linear(spectral_width, width)
        self.prior = SpatialPrior(in_channels, width)
        self.stages = nn.ModuleList(Stage(self.vit.out_channels[1], width) for _ in self.vit.indices)
        # What the second stream adds to the maps, nothing at first; shared, so that it learns whichever map is used.
        self.give = nn.Linear(width, self.vit.out_channels[1])
        self.gate_D = nn.Parameter(torch.zeros(self.vit.out_channels[1]))
        self.out_channels = (in_channels, *self.vit.out_channels[1:])
        self.strides = self.vit.strides

    def forward(self, x_BLHW: Tensor) -> list[Tensor]:
        x_BLHW = pad_to(x_BLHW, self.vit.stride)
        stream_BDhw = self.prior(x_BLHW, self._patch_spectra(x_BLHW))
        grid = (stream_BDhw.shape[2], stream_BDhw.shape[3])
        stream = stream_BDhw.flatten(2).transpose(1, 2)
        tokens, rotary = self.vit.tokens(self.vit.prepared(x_BLHW[:, self.rgb]))
        prefix, start, maps = tokens.shape[1] - stream.shape[1], 0, [x_BLHW]
        for module, last in zip(self.stages, self.vit.indices, strict=True):
            stage = cast(Stage, module)
            # The ViT's class and register tokens look at the bands as well.
            tokens = self.vit.run_blocks(tokens + stage.inject(tokens, stream), rotary, start, last + 1)
            stream, start = stage.after(stream, tokens), last + 1
            seen = self.vit.vit.norm(tokens)[:, prefix:] + self.gate_D * self.give(stream)
            maps.append(as_map(seen, grid))
        return maps

    def _patch_spectra(self, x_BLHW: Tensor) -> Tensor:
        """x_BLHW → spectra_BDhw: the bands of every patch's mean spectrum attend to each other, then are averaged."""
        means_BLhw = functional.avg_pool2d(x_BLHW, self.vit.stride)
        batch, bands, height, width = means_BLhw.shape
        spectra_NL1 = means_BLhw.permute(0, 2, 3, 1).reshape(-1, bands, 1)
        features_ND = self.widen(self.spectra(spectra_NL1).mean(dim=1))
        return features_ND.reshape(batch, height, width, -1).permute(0, 3, 1, 2)


def _split(x_BNW: Tensor) -> Tensor:
    batch, count, width = x_BNW.shape
    return x_BNW.reshape(batch, count, _HEADS, width // _HEADS).transpose(1, 2)


def _convolve(in_channels: int, out_channels: int, kernel: int = 3, stride: int = 1) -> list[nn.Module]:
    convolve = nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False)
    return [convolve, nn.GroupNorm(_GROUPS, out_channels), nn.GELU()]
