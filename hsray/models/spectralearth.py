"""SpectralEarth's ViT and ResNet-50 behind a spectral adapter, pretrained on EnMAP images of 202 bands.

Source: Braham et al., "SpectralEarth: Training Hyperspectral Foundation Models at Scale" (arXiv 2408.08447). Tensor
names and shapes are those of the official code, which was compared with and not carried over.

A cube of another sensor is first resampled onto EnMAP's band centres, linearly in the wavelength. Centres outside its
range become zero, which after standardisation is the mean. With fewer or coarser bands the network therefore sees
smoother spectra than in its pretraining, and none at all where the sensor does not look.
"""

from __future__ import annotations

import csv
from functools import partial
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np
import timm
import torch
from timm.models.resnet import Bottleneck
from timm.models.vision_transformer import VisionTransformer
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models.patches import as_map, known_size, level_depths, needed_wavelengths, pad_to
from hsray.models.registry import register_encoder

ADAPTED = 128  # channels that the spectral adapter gives
KERNELS = ((1, 32, 7, 5), (32, 64, 7, 5), (64, ADAPTED, 5, 3))  # in, out, bands, step of the adapter's convolutions


def enmap_nm() -> np.ndarray:
    """Band centres (202,) in nm of the EnMAP images in SpectralEarth: water absorption is left out."""
    text = files("hsray.models").joinpath("enmap_nm.csv").read_text("utf-8")
    return np.array([float(row["center_nm"]) for row in csv.DictReader(text.splitlines())])


def resampling(nm_L: np.ndarray, target_nm_M: np.ndarray) -> np.ndarray:
    """Matrix (M, L) of linear interpolation by wavelength; rows of targets outside the range of `nm_L` are zero."""
    order = np.argsort(nm_L, kind="stable")
    rows_ML = np.stack([np.interp(target_nm_M, nm_L[order], unit) for unit in np.eye(len(nm_L))], axis=1)
    inside_M = (target_nm_M >= nm_L.min()) & (target_nm_M <= nm_L.max())
    matrix_ML = np.zeros_like(rows_ML)
    matrix_ML[:, order] = rows_ML * inside_M[:, None]
    return matrix_ML


class OnEnmapBands(nn.Module):
    """x_BCHW of any sensor → (B, 202, H, W) on EnMAP's bands, by a fixed matrix.

    Raises RequestError where the wavelengths are missing or none of EnMAP's bands lies among them.
    """

    matrix_ML: Tensor

    def __init__(self, in_channels: int, wavelengths_nm: Tensor | None, what: str) -> None:
        super().__init__()
        nm_L = needed_wavelengths(wavelengths_nm, in_channels, what).double().numpy()
        matrix_ML = resampling(nm_L, enmap_nm())
        if not matrix_ML.any():
            raise RequestError(
                f"no band of EnMAP lies between {nm_L.min():g} and {nm_L.max():g} nm, so {what} would see nothing",
                do="use a dataset with bands from 418 to 2446 nm, or another encoder",
            )
        self.register_buffer("matrix_ML", torch.from_numpy(matrix_ML).float(), persistent=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return torch.einsum("ml,blhw->bmhw", self.matrix_ML, x_BCHW)


class SpectralAdapter(nn.Sequential):
    """(B, 202, H, W) → (B, 128, H, W): convolutions along the bands of every pixel, and their mean."""

    def __init__(self) -> None:
        parts: list[nn.Module] = []
        for channels, width, bands, step in KERNELS:
            conv = nn.Conv3d(channels, width, (bands, 1, 1), stride=(step, 1, 1), padding=(1, 0, 0))
            parts += [conv, nn.BatchNorm3d(width), nn.ReLU()]
        super().__init__(*parts)

    def forward(self, x_BLHW: Tensor) -> Tensor:
        return super().forward(x_BLHW.unsqueeze(1)).mean(dim=2)


class SpectralEarth(nn.Module):
    """What both share: what they take and give, and where they come from."""

    takes = "image"
    gives = "pyramid"
    normalise = "standard"  # per band, as in pretraining
    family = "hyperspectral"
    seen = ("SpectralEarth (EnMAP)",)


@register_encoder("spectralearth-vit")
class SpectralEarthViT(SpectralEarth):
    """x_BCHW → maps: the padded input, then `levels` maps of stride 4 from several depths of a ViT.

    Public weights, for patches of 4 pixels: small (MoCo v2, DINO, MAE), base, large and huge (MAE); tiny is for tests.
    The giant one is left out: the official code and its card disagree about its size. The final norm is applied to
    every map. Raises RequestError for wavelengths that are missing or do not overlap with EnMAP's, and for sizes and
    levels that do not exist.
    """

    adaptable = ("qkv", "proj", "fc1", "fc2")
    # A classifier, and what the authors' masked autoencoder holds twice because it wraps the patch embedding.
    spare_tensors = (
        "vit_core.head.",
        "vit_core.fc_norm.",
        "vit_core.patch_embed.spectral_adapter.",
        "vit_core.patch_embed.original_patch_embed.",
    )
    patch = 4
    sizes: ClassVar[dict[str, tuple[int, ...]]] = {
        "tiny": (48, 4, 4),
        "small": (384, 12, 6),
        "base": (768, 12, 12),
        "large": (1024, 24, 16),
        "huge": (1280, 32, 16),
    }

    def __init__(
        self, in_channels: int, wavelengths_nm: Tensor | None, *, size: str = "small", levels: int = 4
    ) -> None:
        super().__init__()
        width, depth, heads = known_size(self.sizes, size, "the encoder 'spectralearth-vit'")
        self.depths = level_depths(depth, levels)
        self.resample = OnEnmapBands(in_channels, wavelengths_nm, "the encoder 'spectralearth-vit'")
        self.spectral_adapter = SpectralAdapter()
        self.vit_core = VisionTransformer(
            img_size=128,
            patch_size=self.patch,
            in_chans=ADAPTED,
            num_classes=0,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            dynamic_img_size=True,
        )
        self.strides = (1, *(self.patch,) * levels)
        self.out_channels = (in_channels, *(width,) * levels)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        x_BCHW = pad_to(x_BCHW, self.patch)
        core: Any = self.vit_core
        grid = (x_BCHW.shape[2] // self.patch, x_BCHW.shape[3] // self.patch)
        tokens_BTD = core._pos_embed(core.patch_embed(self.spectral_adapter(self.resample(x_BCHW))))
        maps = [x_BCHW]
        for index, block in enumerate(core.blocks):
            tokens_BTD = block(tokens_BTD)
            if index in self.depths:
                maps.append(as_map(core.norm(tokens_BTD)[:, 1:], grid))
        return maps


@register_encoder("spectralearth-resnet")
class SpectralEarthResNet(SpectralEarth):
    """x_BCHW → maps: the padded input, then the four stages of a ResNet-50, strides 2, 4, 8 and 16.

    Public weights: Spec. RN50 (MoCo v2, DINO), which is size resnet50; tiny is for tests. There is no stem: the first
    block takes the adapter's channels and halves the image. The official segmentation code dilates instead of
    striding; here decoders take the pyramid. Raises RequestError as the ViT does.
    """

    adaptable = ("conv1", "conv2", "conv3")
    spare_tensors = ("resnet.fc.",)
    sizes: ClassVar[dict[str, tuple[int, ...]]] = {"tiny": (1, 1, 1, 1, 16), "resnet50": (3, 4, 6, 3, 64)}

    def __init__(self, in_channels: int, wavelengths_nm: Tensor | None, *, size: str = "resnet50") -> None:
        super().__init__()
        *blocks, inner = known_size(self.sizes, size, "the encoder 'spectralearth-resnet'")
        self.resample = OnEnmapBands(in_channels, wavelengths_nm, "the encoder 'spectralearth-resnet'")
        self.spectral_adapter = SpectralAdapter()
        usual: Any = timm.create_model("resnet50", num_classes=0, layers=tuple(blocks), base_width=inner)
        stages = {f"layer{number}": getattr(usual, f"layer{number}") for number in (1, 2, 3, 4)}
        shortcut = nn.Sequential(nn.Conv2d(ADAPTED, 256, 1, stride=2, bias=False), nn.BatchNorm2d(256))
        # Four times as wide inside as the usual one.
        stages["layer1"][0] = Bottleneck(ADAPTED, 64, stride=2, downsample=shortcut, base_width=4 * inner)
        self.resnet = nn.ModuleDict(stages)
        self.strides = (1, 2, 4, 8, 16)
        self.out_channels = (in_channels, 256, 512, 1024, 2048)

    def forward(self, x_BCHW: Tensor) -> list[Tensor]:
        maps = [pad_to(x_BCHW, max(self.strides))]
        x_BDHW = self.spectral_adapter(self.resample(maps[0]))
        for stage in self.resnet.values():
            x_BDHW = stage(x_BDHW)
            maps.append(x_BDHW)
        return maps
