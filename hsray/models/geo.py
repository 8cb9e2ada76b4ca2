"""Earth-observation encoders that are told the wavelength of every band: DOFA, Panopticon and Copernicus-FM.

torchgeo (the extra `hsray[geo]`) has the patch embeddings and the public weights. The transformer blocks are timm's.
Here they give maps of patch tokens from several depths, for images of any size and any number of bands.
Tensor names are those of the public weights.
"""

from __future__ import annotations

import importlib.util
from typing import Any, ClassVar

import torch
from timm.layers import build_sincos2d_pos_embed, resample_abs_pos_embed
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models.patches import as_map, known_size, level_depths, needed_wavelengths, pad_to
from hsray.models.registry import register_encoder


class WavelengthViT(nn.Module):
    """x_BCHW of any bands → maps: the padded input, then `levels` maps of one patch stride, shallow to deep.

    Subclasses cut the image into patch tokens (`_tokens`) by the bands' wavelengths. Odd sizes are padded on the
    right and at the bottom by repeating the border; position embeddings are resampled to the grid (bicubic with
    antialiasing, as torchgeo does). Raises RequestError where wavelengths or torchgeo are missing, or the size or
    the levels cannot be had.
    """

    takes = "image"
    gives = "pyramid"
    normalise = "standard"  # all three were pretrained on bands of zero mean and unit deviation, sensor by sensor
    adaptable = ("qkv", "proj", "fc1", "fc2")
    family = "earth-observation"
    seen: ClassVar[tuple[str, ...]]
    spare_tensors: ClassVar[tuple[str, ...]]
    sizes: ClassVar[dict[str, tuple[int, ...]]]  # width, depth, heads; "tiny" is for tests and has no public weights
    public: ClassVar[dict[str, tuple[str, str]]]  # size → enumeration of torchgeo's and the entry in it
    patch: int
    wavelengths_nm: Tensor
    pos_embed: Tensor
    cls_token: nn.Parameter
    patch_embed: Any

    def __init__(self, name: str, in_channels: int, wavelengths_nm: Tensor | None, size: str, levels: int) -> None:
        super().__init__()
        self.width, self.depth, self.heads = known_size(self.sizes, size, f"the encoder '{name}'")
        self.name, self.size, self.depths = name, size, level_depths(self.depth, levels)
        nm_L = needed_wavelengths(wavelengths_nm, in_channels, f"the encoder '{name}'")
        self.register_buffer("wavelengths_nm", nm_L, persistent=False)
        self.strides = (1, *(self.patch,) * levels)
        self.out_channels = (in_channels, *(self.width,) * levels)
        if importlib.util.find_spec("torchgeo") is None:
            raise RequestError(f"the encoder '{name}' needs torchgeo", do="pip install 'hsray[geo]'")

    def hub_tensors(self) -> dict[str, Tensor]:
        """The public weights that torchgeo knows, downloaded once; never unpickled as objects.

        Raises RequestError where there are none for this size, or they cannot be downloaded.
        """
        import torchgeo.models

        if self.size not in self.public:
            raise RequestError(
                f"the encoder '{self.name}' has no public weights for the size '{self.size}'",
                do=f"choose encoder size: {', '.join(self.public)}, or weights of your own",
            )
        table, entry = self.public[self.size]
        weights = getattr(torchgeo.models, table)[entry]
        try:
            return weights.get_state_dict(map_location="cpu", progress=False, check_hash=True, weights_only=True)
        except (OSError, RuntimeError) as error:  # no network; a file of another hash
            raise RequestError(
                f"the public weights of '{self.name}' cannot be had ({type(error).__name__}: {error})",
                where=weights.url,
                do="check the network, or give a file that holds them",
            ) from error

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        x_BCHW = pad_to(x_BCHW, self.patch)
        grid = (x_BCHW.shape[2] // self.patch, x_BCHW.shape[3] // self.patch)
        position_1TD = self._positions(resample_abs_pos_embed(self.pos_embed, list(grid)))
        tokens_BND = self._tokens(x_BCHW) + position_1TD[:, 1:]
        class_B1D = (self.cls_token + position_1TD[:, :1]).expand(len(x_BCHW), -1, -1)
        x_BTD = torch.cat([class_B1D, tokens_BND], dim=1)
        maps = [x_BCHW]
        for index, block in enumerate(self.blocks):
            x_BTD = block(x_BTD)
            if index in self.depths:
                maps.append(as_map(self.norm(x_BTD)[:, 1:], grid))
        return maps

    def _tokens(self, x_BCHW: Tensor) -> Tensor:
        raise NotImplementedError

    def _positions(self, position_1TD: Tensor) -> Tensor:
        return position_1TD

    def _take(self, model: Any, pos_embed_1TD: Tensor, *, learned: bool) -> None:
        """Keep what a dense encoder uses of a torchgeo model. What would get no gradient is left behind."""
        self.cls_token, self.blocks = model.cls_token, model.blocks
        if learned:
            self.pos_embed = nn.Parameter(pos_embed_1TD)
        else:
            self.register_buffer("pos_embed", pos_embed_1TD)
        self.norm: nn.Module = nn.Identity()


def _sincos(side: int, width: int) -> Tensor:
    """Fixed positions of a square grid with a zero for the class token, (1, 1 + side², width).

    torchgeo leaves zeros until weights are loaded; a model that learns from scratch would not know places apart.
    """
    grid_ND = build_sincos2d_pos_embed([side, side], width)
    return torch.cat([torch.zeros(1, width), grid_ND]).unsqueeze(0)


@register_encoder("dofa")
class DOFA(WavelengthViT):
    """DOFA (Xiong et al., arXiv 2403.15356): a hypernetwork writes the patch embedding from the wavelengths.

    Sizes: small, base, large (patches of 16 pixels; base and large have public weights), and tiny.
    """

    patch = 16
    seen = ("SatlasPretrain (Sentinel-1, Sentinel-2, NAIP)", "Five-Billion-Pixels (Gaofen)", "HySpecNet-11k (EnMAP)")
    # The authors' own files also hold these; torchgeo's copies do not.
    spare_tensors = ("mask_token", "norm.", "projector.", "fc_norm.", "head.")
    sizes: ClassVar[dict[str, tuple[int, ...]]] = {
        "tiny": (48, 4, 4),
        "small": (384, 12, 6),
        "base": (768, 12, 12),
        "large": (1024, 24, 16),
    }
    public: ClassVar[dict[str, tuple[str, str]]] = {
        "base": ("DOFABase16_Weights", "DOFA_MAE"),
        "large": ("DOFALarge16_Weights", "DOFA_MAE"),
    }

    def __init__(self, in_channels: int, wavelengths_nm: Tensor | None, *, size: str = "base", levels: int = 4) -> None:
        super().__init__("dofa", in_channels, wavelengths_nm, size, levels)
        from torchgeo.models import dofa  # takes seconds to import

        model = dofa.DOFA(embed_dim=self.width, depth=self.depth, num_heads=self.heads, num_classes=0)
        self.patch_embed = model.patch_embed
        self._take(model, _sincos(14, self.width), learned=False)

    def _tokens(self, x_BCHW: Tensor) -> Tensor:
        return self.patch_embed(x_BCHW, self.wavelengths_nm / 1000)[0]  # in micrometres


@register_encoder("copernicusfm")
class CopernicusFM(WavelengthViT):
    """Copernicus-FM (Wang et al., arXiv 2503.11849): DOFA's idea with bandwidths, place, time and scale.

    `bandwidth_nm` is one width for all bands; left out, a band is as wide as the step to its neighbours. Place, time
    and scale are told to be unknown, for which the model has learned tokens. Sizes: base (public weights), and tiny.
    """

    patch = 16
    seen = ("Copernicus-Pretrain (Sentinel-1, -2, -3, -5P, DEM)",)
    # The embedding of variables that are no spectrum, and a classifier.
    spare_tensors = ("patch_embed_variable.", "fc_norm.", "norm.", "head.", "mask_token")
    sizes: ClassVar[dict[str, tuple[int, ...]]] = {"tiny": (48, 4, 4), "base": (768, 12, 12)}
    public: ClassVar[dict[str, tuple[str, str]]] = {"base": ("CopernicusFM_Base_Weights", "CopernicusFM_ViT")}

    def __init__(
        self,
        in_channels: int,
        wavelengths_nm: Tensor | None,
        *,
        size: str = "base",
        levels: int = 4,
        bandwidth_nm: float | None = None,
    ) -> None:
        super().__init__("copernicusfm", in_channels, wavelengths_nm, size, levels)
        from torchgeo.models import copernicusfm

        model = copernicusfm.CopernicusFM(embed_dim=self.width, depth=self.depth, num_heads=self.heads)
        self.patch_embed_spectral = model.patch_embed_spectral
        for name in ("coord", "scale", "time"):
            setattr(self, f"{name}_fc", getattr(model, f"{name}_fc"))
            setattr(self, f"{name}_token", getattr(model, f"{name}_token"))
        self._take(model, _sincos(14, self.width), learned=False)
        self.register_buffer("bandwidths_nm", _bandwidths(self.wavelengths_nm, bandwidth_nm), persistent=False)

    def _tokens(self, x_BCHW: Tensor) -> Tensor:
        return self.patch_embed_spectral(x_BCHW, self.wavelengths_nm, self.bandwidths_nm)

    def _positions(self, position_1TD: Tensor) -> Tensor:
        for name in ("coord", "scale", "time"):
            position_1TD = position_1TD + getattr(self, f"{name}_fc")(getattr(self, f"{name}_token"))
        return position_1TD


def _bandwidths(nm_L: Tensor, bandwidth_nm: float | None) -> Tensor:
    """Widths (L,) in nm, at least 1, which is the least that the model's encoding knows."""
    if bandwidth_nm is not None:
        if not isinstance(bandwidth_nm, int | float) or not 1 <= bandwidth_nm <= 1e6:
            raise RequestError(
                f"bands of {bandwidth_nm} nm cannot be encoded", do="choose bandwidth_nm from 1 to 1e6, or leave it out"
            )
        return torch.full_like(nm_L, float(bandwidth_nm))
    if len(nm_L) == 1:
        raise RequestError("the width of a single band is not known", do="give the encoder bandwidth_nm")
    order = nm_L.argsort(stable=True)
    (steps,) = torch.gradient(nm_L[order])
    return torch.empty_like(nm_L).scatter(0, order, steps.clamp_min(1))


@register_encoder("panopticon")
class Panopticon(WavelengthViT):
    """Panopticon (Waldmann et al., arXiv 2503.10845): cross-attention over the bands of every patch, then DINOv2.

    Every band becomes a token of width 2304 before the attention, so memory grows with the bands: 200 bands and one
    image of 224×224 pixels take half a gigabyte for those tokens alone. Wavelengths are cut to whole nm, as
    published. Sizes: base (patches of 14 pixels, public weights), and tiny.
    """

    patch = 14
    seen = ("fMoW", "fMoW-Sentinel", "MMEarth", "SatlasPretrain", "SpectralEarth (EnMAP)", "LVD-142M (by DINOv2)")
    spare_tensors = ("mask_token",)
    sizes: ClassVar[dict[str, tuple[int, ...]]] = {"tiny": (48, 4, 4), "base": (768, 12, 12)}
    public: ClassVar[dict[str, tuple[str, str]]] = {"base": ("Panopticon_Weights", "VIT_BASE14")}

    def __init__(self, in_channels: int, wavelengths_nm: Tensor | None, *, size: str = "base", levels: int = 4) -> None:
        super().__init__("panopticon", in_channels, wavelengths_nm, size, levels)
        import timm
        from torchgeo.models.panopticon import PanopticonPE

        shape: dict[str, Any] = {"embed_dim": self.width, "depth": self.depth, "num_heads": self.heads}
        model: Any = timm.create_model("vit_base_patch14_dinov2", **shape)
        attention = {"attn_cfg": {"num_heads": 16}}
        self.patch_embed = PanopticonPE(3 * self.width, self.width, self.patch, attention)
        self._take(model, model.pos_embed.detach(), learned=True)
        self.norm = model.norm

    def _tokens(self, x_BCHW: Tensor) -> Tensor:
        # torchgeo floors the identifiers in place: it gets a copy.
        ids_BC = self.wavelengths_nm.repeat(len(x_BCHW), 1)
        return self.patch_embed({"imgs": x_BCHW, "chn_ids": ids_BC})
