"""SpatSIGMA: the spatial branch of HyperSIGMA, a ViT in which most blocks attend to a few sampled places.

Source: Wang et al., "HyperSIGMA: Hyperspectral Intelligence Comprehension Foundation Model" (IEEE TPAMI 2025, arXiv
2406.11519, section on sparse sampling attention). Tensor names and shapes are those of the official code, which was
compared with and not carried over. Pretraining there is a plain masked autoencoder: the sampling offsets are new in
every model, and the patch embedding learns anew, because it was pretrained for 100 bands. As in pretraining and in the
official segmentation model, no position is added.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from timm.layers import Attention, Mlp
from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models.patches import as_map, known_size, level_depths, pad_to
from hsray.models.registry import register_encoder


class SamplingAttention(nn.Module):
    """Every patch attends to `points` places of every head, whose offsets it chooses itself.

    Keys and values lie on the grid of patches and are read between them bilinearly, zero outside.
    """

    def __init__(self, width: int, heads: int, points: int) -> None:
        super().__init__()
        self.heads, self.points = heads, points
        self.qkv = nn.Linear(width, 3 * width)
        self.sampling_offsets = nn.Linear(width, heads * points * 2)  # (x, y) in patches
        self.proj = nn.Linear(width, width)

    def forward(self, tokens_BND: Tensor, grid: tuple[int, int]) -> Tensor:
        B, N, D = tokens_BND.shape
        query_BND, key_BND, value_BND = self.qkv(tokens_BND).chunk(3, dim=-1)
        per_head = (B * self.heads, D // self.heads)
        offsets_SNP2 = self.sampling_offsets(query_BND).view(B, N, self.heads, self.points, 2).transpose(1, 2)
        place_SNP2 = _centres(grid, tokens_BND)[:, None] + offsets_SNP2.flatten(0, 1) * 2 / _extent(grid, tokens_BND)
        # (B · heads, D / heads, N, points)
        key, value = (
            functional.grid_sample(map_BND.transpose(1, 2).reshape(*per_head, *grid), place_SNP2, align_corners=False)
            for map_BND in (key_BND, value_BND)
        )
        query = query_BND.transpose(1, 2).reshape(*per_head, N, 1)
        weight_SNP = ((query * key).sum(dim=1) * per_head[1] ** -0.5).softmax(dim=-1)
        mixed = (weight_SNP.unsqueeze(1) * value).sum(dim=-1)
        return self.proj(mixed.reshape(B, D, N).transpose(1, 2))


def _extent(grid: tuple[int, int], like: Tensor) -> Tensor:
    return torch.tensor([grid[1], grid[0]], dtype=like.dtype, device=like.device)  # x, then y


def _centres(grid: tuple[int, int], like: Tensor) -> Tensor:
    """Centres (N, 2) of the patches in reading order, from -1 to 1 over the image."""
    y, x = (torch.arange(side, dtype=like.dtype, device=like.device).add(0.5).mul(2 / side).sub(1) for side in grid)
    yy, xx = torch.meshgrid(y, x, indexing="ij")
    return torch.stack([xx, yy], dim=-1).reshape(-1, 2)


class SigmaBlock(nn.Module):
    """A pre-norm block with attention to all patches, or to sampled ones."""

    def __init__(self, width: int, heads: int, points: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width, eps=1e-6), nn.LayerNorm(width, eps=1e-6)
        self.attn: nn.Module = (
            SamplingAttention(width, heads, points) if points else Attention(width, heads, qkv_bias=True)
        )
        self.mlp = Mlp(width, 4 * width)

    def forward(self, tokens_BND: Tensor, grid: tuple[int, int]) -> Tensor:
        x_BND = self.norm1(tokens_BND)
        mixed_BND = self.attn(x_BND, grid) if isinstance(self.attn, SamplingAttention) else self.attn(x_BND)
        tokens_BND = tokens_BND + mixed_BND
        return tokens_BND + self.mlp(self.norm2(tokens_BND))


class SigmaBlocks(nn.Module):
    """The pretrained part: `depth` blocks, of which every `interval`-th sees all patches."""

    adaptable = ("qkv", "proj", "fc1", "fc2")
    family = "hyperspectral"
    seen = ("HyperGlobal-450K (EO-1 Hyperion, Gaofen-5B)",)
    # The patch embedding for 100 bands, positions that pretraining never added, a norm after it, and the decoder.
    spare_tensors = ("patch_embed.", "pos_embed", "norm.", "decoder_", "mask_token")

    def __init__(self, width: int, depth: int, heads: int, interval: int, points: int) -> None:
        super().__init__()
        kinds = [0 if (index + 1) % interval == 0 else points for index in range(depth)]
        self.blocks = nn.ModuleList(SigmaBlock(width, heads, kind) for kind in kinds)
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and parameter.ndim == 2:
                nn.init.trunc_normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def translate(self, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
        """Public weights know no sampling offsets: they stay as they were initialised."""
        return {name: own for name, own in self.state_dict().items() if "sampling_offsets" in name} | tensors


@register_encoder("hypersigma-spat")
class SpatSigma(nn.Module):
    """x_BCHW → maps: the padded input, then `levels` maps of one patch stride, shallow to deep.

    Sizes base, large and huge have public weights; tiny is for tests. `patch` pixels a patch and `points` sampled
    places a head may be chosen, since neither is pretrained. The adapter concerns the blocks alone; the patch
    embedding always learns. Sampling offsets are not pretrained, so that the adapter `full` is the one to use.
    """

    takes = "image"
    gives = "pyramid"
    # Official fine-tuning scales a cube to 0-1 as a whole; the patch embedding that learns takes either.
    normalise = "standard"
    pretrained_part = "body"
    family, seen = SigmaBlocks.family, SigmaBlocks.seen
    sizes: ClassVar[dict[str, tuple[int, ...]]] = {  # width, depth, heads, interval
        "tiny": (48, 6, 4, 3),
        "base": (768, 12, 12, 3),
        "large": (1024, 24, 16, 6),
        "huge": (1280, 32, 16, 8),
    }

    def __init__(
        self,
        in_channels: int,
        wavelengths_nm: Tensor | None = None,
        *,
        size: str = "base",
        levels: int = 4,
        patch: int = 8,
        points: int = 4,
    ) -> None:
        super().__init__()
        width, depth, heads, interval = known_size(self.sizes, size, "the encoder 'hypersigma-spat'")
        if not all(isinstance(value, int) and value >= 1 for value in (patch, points)):
            raise RequestError(
                f"patches of {patch} pixels and {points} sampled points cannot be built", do="choose numbers from 1"
            )
        self.patch, self.depths = patch, level_depths(depth, levels)
        self.patch_embed = nn.Conv2d(in_channels, width, patch, stride=patch)
        self.body = SigmaBlocks(width, depth, heads, interval, points)
        self.strides = (1, *(patch,) * levels)
        self.out_channels = (in_channels, *(width,) * levels)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        maps = [pad_to(x_BCHW, self.patch)]
        x_BDHW = self.patch_embed(maps[0]).to(maps[0].dtype)  # residuals stay in float32 under autocast
        height, width = x_BDHW.shape[2:]
        tokens_BND = x_BDHW.flatten(2).transpose(1, 2)
        for index, block in enumerate(self.body.blocks):
            tokens_BND = block(tokens_BND, (height, width))
            if index in self.depths:
                maps.append(as_map(tokens_BND, (height, width)))
        return maps
