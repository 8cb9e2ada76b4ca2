"""HyperSL: a transformer over the bands of one spectrum, pretrained by reconstructing masked bands.

Source: Kong et al., "HyperSL: A Spectral Foundation Model for Hyperspectral Image Interpretation" (IEEE TGRS 2025).
Tensor names, shapes and the order of operations fit the official checkpoints, unusual ones included: the same weights
give the same features and reconstructions as the official code, which was compared with and not carried over.

In evaluation the same features come faster: one pass for the three convolutions, and batches that suit the device.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from timm.layers import Attention, Mlp
from timm.models.vision_transformer import Block
from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models.checks import check_wavelengths
from hsray.models.registry import register_encoder


class Size(NamedTuple):
    """The form of an official model."""

    width: int
    depth: int
    decoder_depth: int
    heads: int


SIZES = {
    "small": Size(256, 8, 4, 8),
    "base": Size(512, 24, 12, 16),
    "large": Size(1024, 32, 16, 32),
    "huge": Size(2048, 48, 24, 32),
}
CACHED_VALUES = 2**18  # tokens × width that a core works on at once: the widest activation then stays in its cache
GPU_TOKENS = 2**18  # beyond this many at once a GPU gets no faster
GPU_SHARE = 0.5  # of the free memory
LIVE_COPIES = 16  # values that a block holds at its widest point, in units of tokens × width


def _embedding(in_channels: int, width: int, kernel: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv1d(in_channels, width, kernel, padding="same"), nn.BatchNorm1d(width), nn.GELU())


class BandBlock(Block):
    """A pre-norm ViT block with torch's LayerNorm: its eps of 1e-5 is the official one, timm's own is 1e-6."""

    attn: Attention
    mlp: Mlp
    norm1: nn.LayerNorm
    norm2: nn.LayerNorm

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads, qkv_bias=True, norm_layer=nn.LayerNorm)


class LastBlock(BandBlock):
    """The last encoder block: it hands out its keys and values, and doubles its attention in place of a residual."""

    def forward_with_keys(self, tokens_BTD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Tokens, and the keys and values of every head, (B, heads, T, D / heads)."""
        B, T, D = tokens_BTD.shape
        qkv = self.attn.qkv(self.norm1(tokens_BTD)).reshape(B, T, 3, self.attn.num_heads, self.attn.head_dim)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed_BTD = functional.scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(B, T, D)
        x_BTD = 2 * self.attn.proj(mixed_BTD).to(tokens_BTD.dtype)  # no residual carries it into float32 under autocast
        return x_BTD + self.mlp(self.norm2(x_BTD)), key, value


class Disaggregation(nn.Module):
    """From one feature back to bands: each kept band gets its attention weight times its own value, not the sum."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, width)  # the query alone; the name is the checkpoints'
        self.proj = nn.Linear(width, width)

    def forward(self, feature_BD: Tensor, key: Tensor, value: Tensor) -> Tensor:
        B, D = feature_BD.shape
        query = self.qkv(feature_BD).reshape(B, self.heads, 1, D // self.heads)
        key, value = key[:, :, 1:], value[:, :, 1:]  # without the global token
        weight_BHM1 = (query @ key.transpose(-2, -1) / math.sqrt(D // self.heads)).softmax(dim=-1).transpose(-2, -1)
        return self.proj((weight_BHM1 * value).transpose(1, 2).reshape(B, -1, D))


@register_encoder("hypersl")
class HyperSL(nn.Module):
    """spectra_BL → features_BD. `size` is small, base, large or huge; `width`, `depth` and `heads` go before it.

    The spectra come scaled by the view, each to a maximum of 1. `wavelengths_nm` (L,) serve `forward`; `reconstruct`
    takes its own. Without `decoder_depth` (0) only what `forward` needs is built; the official one is in `SIZES`.
    Raises RequestError where the size is unknown, or the wavelengths are missing or do not fit the bands.
    """

    div_term: Tensor
    pe: Tensor
    positions_LD: Tensor
    takes = "spectrum"
    gives = "vector"
    normalise = "max"  # the scaling its spectra have in pretraining
    adaptable = ("qkv", "proj", "fc1", "fc2")
    # What a checkpoint holds beyond the encoder.
    spare_tensors = ("mask_token", "corss_attn.", "decoder_blocks.", "norm1.", "norm2.", "decoder_layer.")

    def __init__(
        self,
        in_channels: int,
        wavelengths_nm: Tensor | None,
        *,
        size: str = "small",
        width: int | None = None,
        depth: int | None = None,
        heads: int | None = None,
        decoder_depth: int = 0,
    ) -> None:
        super().__init__()
        official = _official(size)
        width = official.width if width is None else width
        depth = official.depth if depth is None else depth
        heads = official.heads if heads is None else heads
        if heads < 1 or width < 2 or width % heads or width % 2 or depth < 1:
            raise RequestError(
                f"a HyperSL encoder of width {width}, depth {depth} and {heads} heads cannot be built",
                do="choose an even width that the number of heads divides, and a depth of at least 1",
            )
        self.width, self.out_channels = width, width
        self.global_token = nn.Parameter(torch.zeros(1, 1, width))
        self.embedding_layer_1 = _embedding(1, width, 5)
        self.embedding_layer_2 = _embedding(1, width, 9)
        self.embedding_layer_3 = _embedding(1, width, 13)
        self.embedding_layer_4 = _embedding(3 * width, width, 1)
        # Official checkpoints carry both; `pe` is a scratch pad of zeros there and is never read here.
        self.register_buffer("div_term", torch.exp(torch.arange(0, width, 2) * (-math.log(100.0) / width)))
        self.register_buffer("pe", torch.zeros(1, 500, width))
        self.encoder_blocks = nn.ModuleList(BandBlock(width, heads) for _ in range(depth - 1))
        self.transformer_encoder_layer = LastBlock(width, heads)
        if decoder_depth:
            self.mask_token = nn.Parameter(torch.zeros(1, 1, width))
            self.corss_attn = Disaggregation(width, heads)
            self.decoder_blocks = nn.ModuleList(BandBlock(width, heads) for _ in range(decoder_depth - 1))
            self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
            self.decoder_layer = nn.Sequential(nn.Conv1d(width, 1, 3, padding="same"), nn.Sigmoid())
        self._initialise()
        positions_LD = self.positions(check_wavelengths(wavelengths_nm, in_channels, "the encoder 'hypersl'"))
        self.register_buffer("positions_LD", positions_LD, persistent=False)
        self._compiled: Callable[[Tensor], Tensor] | None = None

    def forward(self, spectra_BL: Tensor) -> Tensor:
        """The feature of each spectrum, (B, width): global token plus the mean of the band tokens.

        Where nothing learns, any number of spectra may be given: they run in batches of a size that suits the device.
        """
        learns = spectra_BL.requires_grad or any(parameter.requires_grad for parameter in self.parameters())
        if self.training or (learns and torch.is_grad_enabled()):
            return self._features(spectra_BL)
        features = self._compiled or self._features
        return torch.cat([features(part_BL) for part_BL in spectra_BL.split(self.batch_size(spectra_BL.device))])

    def batch_size(self, device: torch.device) -> int:
        """Spectra at once where nothing learns: what the caches of all cores hold, or half of a GPU's free memory."""
        tokens_each = len(self.positions_LD) + 1
        if device.type != "cuda":
            tokens = CACHED_VALUES * torch.get_num_threads() // self.width
        else:
            free, _ = torch.cuda.mem_get_info(device)
            tokens = min(GPU_TOKENS, int(GPU_SHARE * free) // (LIVE_COPIES * self.width * 4))
        return max(1, tokens // tokens_each)

    def accelerate(self) -> None:
        """Compile what `forward` runs where nothing learns, for any batch size; the weights may still change."""
        self._compiled = torch.compile(self._features, dynamic=True)

    def _features(self, spectra_BL: Tensor) -> Tensor:
        return self._encode(self._embed(spectra_BL) + self.positions_LD)[0]

    def features_at(self, spectra_BL: Tensor, wavelengths_nm: Tensor) -> Tensor:
        """The feature of each spectrum, (B, width), for bands at these wavelengths (L,); pretraining has many grids."""
        return self._encode(self._embed(spectra_BL) + self.positions(wavelengths_nm))[0]

    def reconstruct(self, spectra_BL: Tensor, wavelengths_BL: Tensor, keep_BM: Tensor) -> tuple[Tensor, Tensor]:
        """All bands of each spectrum, (B, L) in 0–1, from the tokens of the bands `keep_BM` (int64 indices, (B, M)),
        and the feature of those tokens, (B, width).

        As in the official model, the convolutions of the embedding run before the tokens are taken away, so a kept
        token knows its neighbours; who wants the others hidden altogether sets them to zero.
        """
        B, L = spectra_BL.shape
        positions_BLD = self.positions(wavelengths_BL)
        tokens_BLD = self._embed(spectra_BL) + positions_BLD
        index_BMD = keep_BM.unsqueeze(-1).expand(-1, -1, self.width)
        feature_BD, key, value = self._encode(tokens_BLD.gather(1, index_BMD))
        kept_BMD = self.norm1(self.corss_attn(feature_BD, key, value))
        x_BLD = self.mask_token.to(kept_BMD.dtype).expand(B, L, -1).scatter(1, index_BMD, kept_BMD) + positions_BLD
        return self._predict(x_BLD), feature_BD

    def describe(self, feature_BD: Tensor, wavelengths_BL: Tensor) -> Tensor:
        """All bands of each spectrum, (B, L) in 0–1, from its feature alone; ours, not in the official model."""
        x_BLD = self.norm1(feature_BD).unsqueeze(1) + self.positions(wavelengths_BL)
        return self._predict(x_BLD)

    def positions(self, wavelengths_nm: Tensor) -> Tensor:
        """Sine and cosine of the wavelength, in interleaved channels: (..., L) in nm → (..., L, D)."""
        angle = ((wavelengths_nm.to(self.div_term.device) - 400) / 10).unsqueeze(-1) * self.div_term
        return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(-2).to(self.global_token.dtype)

    def _embed(self, spectra_BL: Tensor) -> Tensor:
        if not self.training:
            return self._embed_at_once(spectra_BL)
        x_B1L = spectra_BL.unsqueeze(1)
        scales = [self.embedding_layer_1(x_B1L), self.embedding_layer_2(x_B1L), self.embedding_layer_3(x_B1L)]
        return self.embedding_layer_4(torch.cat(scales, dim=1)).transpose(1, 2)

    def _embed_at_once(self, spectra_BL: Tensor) -> Tensor:
        """The same in evaluation: batch norms are part of the weights, and the three kernels stand in one of 13 bands.

        A band with its neighbours is a row of a matrix product, so that no map has to be transposed or concatenated.
        """
        layers = (self.embedding_layer_1, self.embedding_layer_2, self.embedding_layer_3)
        weights, biases = zip(*(_without_norm(layer) for layer in layers), strict=True)
        reach = max(weight.shape[-1] for weight in weights) // 2
        wide = [functional.pad(weight, [reach - weight.shape[-1] // 2] * 2) for weight in weights]
        rows_BLK = functional.pad(spectra_BL, [reach, reach]).unfold(1, 2 * reach + 1, 1)
        scales_BLE = functional.gelu(functional.linear(rows_BLK, torch.cat(wide).squeeze(1), torch.cat(biases)))
        weight, bias = _without_norm(self.embedding_layer_4)
        return functional.gelu(functional.linear(scales_BLE, weight.squeeze(2), bias))

    def _encode(self, tokens_BMD: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        global_B1D = self.global_token.to(tokens_BMD.dtype).expand(len(tokens_BMD), -1, -1)
        x_BTD = torch.cat([global_B1D, tokens_BMD], dim=1)
        for block in self.encoder_blocks:
            x_BTD = block(x_BTD)
        x_BTD, key, value = self.transformer_encoder_layer.forward_with_keys(x_BTD)
        return x_BTD[:, 0] + x_BTD[:, 1:].mean(dim=1), key, value

    def _predict(self, x_BLD: Tensor) -> Tensor:
        for block in self.decoder_blocks:
            x_BLD = block(x_BLD)
        return self.decoder_layer(self.norm2(x_BLD).transpose(1, 2)).squeeze(1)

    def _initialise(self) -> None:
        nn.init.normal_(self.global_token, std=0.02)
        if hasattr(self, "mask_token"):
            nn.init.normal_(self.mask_token, std=0.02)
        for module in self.modules():
            if isinstance(module, nn.Conv1d):
                nn.init.kaiming_uniform_(module.weight)
            elif isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
            if isinstance(module, nn.Conv1d | nn.Linear) and module.bias is not None:
                nn.init.zeros_(module.bias)


def _without_norm(layer: nn.Sequential) -> tuple[Tensor, Tensor]:
    """Weight and bias of a convolution that gives what this one gives with the batch norm behind it, in evaluation."""
    convolution: Any = layer[0]
    norm: Any = layer[1]
    scale = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
    bias = (convolution.bias - norm.running_mean) * scale + norm.bias
    return convolution.weight * scale.view(-1, 1, 1), bias


def _official(size: str) -> Size:
    if size not in SIZES:
        raise RequestError(f"there is no HyperSL of size '{size}'", do=f"use one of: {', '.join(SIZES)}")
    return SIZES[size]
