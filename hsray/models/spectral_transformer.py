"""A transformer over bands that knows their wavelengths and takes any number of them."""

from __future__ import annotations

import torch
from timm.models.vision_transformer import Block
from torch import Tensor, nn

from hsray.errors import RequestError

_REACH_NM = 10_000.0  # the longest wave of the encoding
_FINEST_NM = 10.0  # the shortest: neighbouring bands of these sensors are 4 nm apart and more


class SpectralTransformer(nn.Module):
    """values_NLF, F values for each of L bands → tokens_NLD in which every band has seen all others.

    No weight depends on the number of bands: each is told by sines and cosines of its wavelength.
    """

    code_LD: Tensor

    def __init__(self, values: int, wavelengths_nm: Tensor, width: int, depth: int, heads: int = 4) -> None:
        super().__init__()
        if not isinstance(width, int) or width < 1 or width % (2 * heads):
            raise RequestError(
                f"a spectral transformer of {heads} heads cannot be {width} wide",
                do=f"choose a width that is a multiple of {2 * heads}",
            )
        self.register_buffer("code_LD", wavelength_code(wavelengths_nm, width), persistent=False)
        self.embed = nn.Linear(values, width)
        self.blocks = nn.ModuleList(Block(width, heads, qkv_bias=True) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, values_NLF: Tensor) -> Tensor:
        tokens_NLD = self.embed(values_NLF) + self.code_LD
        for block in self.blocks:
            tokens_NLD = block(tokens_NLD)
        return self.norm(tokens_NLD)


def wavelength_code(wavelengths_nm: Tensor, width: int) -> Tensor:
    """(L,) in nm → code_LD: sines and cosines whose waves grow geometrically from 10 nm to 10 µm."""
    steps = torch.linspace(0, 1, width // 2)
    angles_LD = 2 * torch.pi * wavelengths_nm[:, None] / (_FINEST_NM * (_REACH_NM / _FINEST_NM) ** steps)
    return torch.cat([angles_LD.sin(), angles_LD.cos()], dim=1)
