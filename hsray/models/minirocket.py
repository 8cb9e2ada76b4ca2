"""MiniRocket and HDC-MiniRocket: thousands of fixed features of a spectrum, and a learned linear layer on them.

A feature is the share of bands at which a dilated convolution exceeds a bias. Sources: Dempster et al., "MINIROCKET"
(KDD 2021, arXiv 2012.08791), and Schlegel et al., "HDC-MiniROCKET" (IJCNN 2022, arXiv 2202.08055). Kernels, dilations,
biases, their order and the tensor names fit the checkpoints of the transfer study (arXiv 2604.26478).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models.checks import check_channels
from hsray.models.registry import register_decoder

_TAPS, _KERNELS, _MOST_DILATIONS = 9, 84, 32
_GOLDEN = (np.sqrt(5) + 1) / 2
_SEED = 42  # of the study; it draws the samples behind the biases and the phases of the positions
# Comparisons at a time: on a CPU what its cache holds, on a GPU what fills it.
_CPU_ELEMENTS, _GPU_ELEMENTS = 2**21, 2**26
_ROWS = 1024  # spectra at a time where nothing learns


class Features(nn.Module):
    """spectra_BL → features_BF, float32 whatever the precision around it; nothing in it learns.

    `scale` None: shares of bands. Otherwise (HDC) every band votes +1 or -1 times a vector of its position; vectors of
    near bands are alike, the less so the larger the scale. At 0 all are the same, and the features are MiniRocket's
    times a constant each.
    """

    kernels: Tensor
    prefit: Tensor
    poses_FL: Tensor

    def __init__(self, bands: int, features: int, scale: float | None) -> None:
        super().__init__()
        self.features = features
        self.dilations, self.shares = _dilations(bands, features // _KERNELS)
        kernels = torch.full((_KERNELS, 1, _TAPS), -1.0)
        for kernel, taps in zip(kernels, combinations(range(_TAPS), 3), strict=True):
            kernel[0, list(taps)] = 2.0
        self.register_buffer("kernels", kernels)
        for number, share in enumerate(self.shares):
            self.register_buffer(f"biases_{number}", torch.zeros(_KERNELS, share))
        self.register_buffer("prefit", torch.tensor([False]))
        self.hdc = scale is not None
        if scale is not None:
            self.register_buffer("poses_FL", _positions(bands, features, scale), persistent=False)

    @torch.no_grad()
    def fit(self, spectra_NL: Tensor) -> None:
        """Take the biases from quantiles of the convolutions of sampled spectra, another sample for each kernel."""
        draw = np.random.RandomState(_SEED)  # the generator of the study: other draws would give other biases
        first = 1
        for number, (dilation, share) in enumerate(zip(self.dilations, self.shares, strict=True)):
            sample_K1L = spectra_NL[draw.randint(len(spectra_NL), size=_KERNELS)].float().unsqueeze(1)
            maps_KKL = functional.conv1d(sample_K1L, self.kernels, padding=4 * dilation, dilation=dilation)
            quantiles = (np.arange(first, first + _KERNELS * share) * _GOLDEN % 1).astype(np.float32)
            first += _KERNELS * share
            bias = getattr(self, f"biases_{number}")
            for kernel, own in enumerate(quantiles.reshape(_KERNELS, share)):
                bias[kernel] = torch.quantile(maps_KKL[kernel, kernel], torch.from_numpy(own).to(bias.device))
        self.prefit.fill_(True)

    @torch.no_grad()
    def forward(self, spectra_BL: Tensor) -> Tensor:
        if not self.prefit:
            raise RequestError(
                "the biases of MiniRocket are not fitted",
                do="call `prefit` with training spectra, or load a trained state",
            )
        features_BF = torch.empty(len(spectra_BL), self.features, device=spectra_BL.device)
        with torch.autocast(spectra_BL.device.type, enabled=False):
            parts = spectra_BL.float().split(self._rows(spectra_BL))
            for part_BL, out_BF in zip(parts, features_BF.split(self._rows(spectra_BL)), strict=True):
                done = 0
                for count_BF in self._counted(part_BL):
                    out_BF[:, done : done + count_BF.shape[1]] = count_BF
                    done += count_BF.shape[1]
        return features_BF

    def _counted(self, spectra_BL: Tensor) -> Iterator[Tensor]:
        """Per dilation: every other kernel's features over all bands, then those of the rest without the padding."""
        done = 0
        for number, dilation in enumerate(self.dilations):
            pad, odd = 4 * dilation, number % 2
            bias_KN = getattr(self, f"biases_{number}")
            maps_BKL = functional.conv1d(spectra_BL.unsqueeze(1), self.kernels, padding=pad, dilation=dilation)
            for start, cut in ((odd, 0), (1 - odd, pad)):
                some_BKL, own_KN = maps_BKL[:, start::2, cut : maps_BKL.shape[2] - cut], bias_KN[start::2]
                B, K, L = some_BKL.shape
                # Straight into floats: several times faster than summing booleans.
                above_BKNL = some_BKL.new_empty(B, K, own_KN.shape[1], L)
                torch.gt(some_BKL.unsqueeze(2), own_KN.unsqueeze(-1), out=above_BKNL)
                if self.hdc:
                    pose_KNL = self.poses_FL[done : done + own_KN.numel(), cut : cut + L].unflatten(0, own_KN.shape)
                    voted_BKN = 2 * above_BKNL.mul_(pose_KNL).sum(-1) - pose_KNL.sum(-1)
                else:
                    voted_BKN = above_BKNL.mean(-1)
                done += own_KN.numel()
                yield voted_BKN.flatten(1)

    def _rows(self, spectra_BL: Tensor) -> int:
        elements = _GPU_ELEMENTS if spectra_BL.is_cuda else _CPU_ELEMENTS
        return max(1, elements // (_KERNELS // 2 * max(self.shares) * spectra_BL.shape[1]))


class Rocket(nn.Module):
    """What both MiniRockets share: fixed features, batch norm, one linear layer. Raises RequestError."""

    takes = "vector"

    def __init__(self, in_channels: int, num_classes: int, features: int, scale: float | None) -> None:
        super().__init__()
        check_channels(in_channels, "a MiniRocket")
        if in_channels < _TAPS:
            raise RequestError(
                f"MiniRocket needs at least {_TAPS} bands, and the input has {in_channels}",
                do="use another decoder (fc or mlp), or a view with more bands",
            )
        if features < _KERNELS or features % _KERNELS:
            raise RequestError(
                f"{features} features cannot be shared among MiniRocket's {_KERNELS} kernels",
                do=f"choose a multiple of {_KERNELS}; published: 9996",
            )
        encoder = Features(in_channels, features, scale)
        self.prefit_spectra = _KERNELS * len(encoder.dilations)
        self.minirocket_enc = nn.ModuleDict({"encoder": encoder})
        self.c_head = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(features), nn.Linear(features, num_classes))

    def prefit(self, x_ND: Tensor) -> None:
        """Fit the biases on at most `prefit_spectra` training spectra (N, bands)."""
        self._features.fit(x_ND[: self.prefit_spectra])

    def forward(self, spectra_BL: Tensor) -> Tensor:
        if self.training:
            return self.c_head(self._features(spectra_BL))
        return torch.cat([self.c_head(self._features(part_BL)) for part_BL in spectra_BL.split(_ROWS)])

    @property
    def _features(self) -> Features:
        features = self.minirocket_enc["encoder"]
        assert isinstance(features, Features)
        return features


@register_decoder("minirocket")
class MiniRocket(Rocket):
    """spectra_BL → logits_BK.

    The biases are fitted once on training spectra (`prefit`) or come with a loaded state. A batch in training holds
    its features, 40 kB a spectrum; evaluation goes through in parts. Raises RequestError for fewer than nine bands, a
    number of features that 84 does not divide, and a forward pass without biases.
    """

    def __init__(self, in_channels: int, num_classes: int, features: int = 9996) -> None:
        super().__init__(in_channels, num_classes, features, None)


@register_decoder("hdc-minirocket")
class HDCMiniRocket(Rocket):
    """MiniRocket that knows where in the spectrum a feature is met; else as MiniRocket.

    At `scale` 0 it is MiniRocket up to a factor for each feature, which batch norm takes away (the study's
    configuration file says 0); the larger, the less alike are the positions of neighbouring bands. Raises RequestError
    for a negative scale.
    """

    def __init__(self, in_channels: int, num_classes: int, features: int = 9996, scale: float = 1.0) -> None:
        if not 0 <= scale < float("inf"):
            raise RequestError(f"HDC-MiniRocket cannot have the scale {scale}", do="give a number of at least 0")
        super().__init__(in_channels, num_classes, features, scale)


def _dilations(bands: int, features_per_kernel: int) -> tuple[list[int], list[int]]:
    """Dilations from 1 to where nine taps span all bands, spaced exponentially, and features a kernel has at each."""
    most = min(features_per_kernel, _MOST_DILATIONS)
    spaced = np.logspace(0, np.log2((bands - 1) / (_TAPS - 1)), most, base=2).astype(np.int32)
    dilations, counts = np.unique(spaced, return_counts=True)
    shares = (counts * (features_per_kernel / most)).astype(np.int32)
    for number in range(features_per_kernel - int(shares.sum())):
        shares[number % len(shares)] += 1
    return dilations.tolist(), shares.tolist()


def _positions(bands: int, features: int, scale: float) -> Tensor:
    """Vectors of the positions, (F, L) float32: one random vector, raised to a fractional power by circular
    convolution (arXiv 2202.08055, section III), each with zero mean and unit deviation."""
    phases = np.random.RandomState(_SEED).uniform(-np.pi, np.pi, features)[: (features - 1) // 2]
    ends = [0.0] if features % 2 == 0 else []
    half_spectrum = np.concatenate([[0.0], -phases[::-1], ends])
    power_L1 = (scale * np.linspace(0, 1, bands, dtype=np.float32) + 1)[:, None]
    vectors_LF = np.fft.irfft(np.exp(1j * half_spectrum * power_L1), n=features)
    vectors_LF = (vectors_LF - vectors_LF.mean(1, keepdims=True)) / vectors_LF.std(1, keepdims=True)
    return torch.from_numpy(np.ascontiguousarray(vectors_LF.T, dtype=np.float32))
