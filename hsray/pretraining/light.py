"""Light for reflectance spectra: what a camera in the open sees is reflectance times sky times its own sensitivity.

All is drawn at random from broad ranges; no measured light and no camera's data stand behind it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

# Absorption in the air and in the sun (centre and width in nm, depth): Fraunhofer lines, O2, H2O, CO2.
LINES = torch.tensor([
    (486, 3, 0.06), (518, 4, 0.06), (589, 3, 0.05), (656, 3, 0.05), (687, 4, 0.25), (719, 9, 0.3), (730, 6, 0.15),
    (761, 6, 0.6), (817, 9, 0.25), (832, 7, 0.15), (897, 8, 0.25), (912, 10, 0.35), (937, 14, 0.7), (957, 14, 0.5),
    (1130, 18, 0.4), (1380, 30, 2.5), (1470, 25, 0.4), (1870, 35, 2.5), (1960, 25, 0.5), (2010, 12, 0.3),
    (2060, 12, 0.3), (2300, 60, 0.3),
])  # fmt: skip
KELVIN = (3500.0, 15000.0)  # low sun to blue sky
RIPPLES = 5  # cosines in a sensor's sensitivity


def under_light(reflectance_BL: Tensor, nm_L: Tensor, lamps: float, random: torch.Generator) -> Tensor:
    """Reflectance (B, L) → radiance, each with maximum 1. `lamps` is the share with a lamp in view."""
    B = len(reflectance_BL)
    light_BL = sky(B, nm_L, random) * sensitivity(B, nm_L, random)
    light_BL = light_BL / light_BL.amax(dim=1, keepdim=True).clamp(min=1e-6)
    # Haze and gloss add the light itself.
    veil_B1 = 0.3 * torch.rand(B, 1, generator=random) ** 2
    seen_BL = (reflectance_BL + veil_B1) * light_BL
    strength_B1 = torch.randn(B, 1, generator=random).exp()
    lit_B1 = torch.rand(B, 1, generator=random) < lamps
    seen_BL = seen_BL + torch.where(lit_B1, strength_B1, torch.zeros(())) * lamp(B, nm_L, random)
    return seen_BL / seen_BL.amax(dim=1, keepdim=True)


def sky(count: int, nm_L: Tensor, random: torch.Generator) -> Tensor:
    """(B, L): a black body by Planck's law, less what the air takes on a path of random length."""
    low, high = (math.log(value) for value in KELVIN)
    kelvin_B1 = (low + (high - low) * torch.rand(count, 1, generator=random)).exp()
    body_BL = (560 / nm_L) ** 5 / torch.expm1(1.4388e7 / (nm_L * kelvin_B1))
    air_B1 = 2 * torch.rand(count, 1, generator=random)
    depth_BJ = LINES[:, 2] * (0.5 + torch.rand(count, len(LINES), generator=random))
    shape_JL = torch.exp(-(((nm_L - LINES[:, :1]) / LINES[:, 1:2]) ** 2) / 2)
    return body_BL / body_BL.amax(dim=1, keepdim=True) * torch.exp(-air_B1 * (depth_BJ @ shape_JL))


def sensitivity(count: int, nm_L: Tensor, random: torch.Generator) -> Tensor:
    """(B, L): a smooth curve that may fall towards the red end, as silicon and filters do."""
    place_L = (nm_L - nm_L[0]) / (nm_L[-1] - nm_L[0])
    order_J = torch.arange(1, RIPPLES + 1)
    height_BJ1 = (0.35 * torch.randn(count, RIPPLES, generator=random) / order_J).unsqueeze(2)
    phase_BJ1 = 2 * math.pi * torch.rand(count, RIPPLES, 1, generator=random)
    log_BL = (height_BJ1 * torch.cos(math.pi * order_J[:, None] * place_L + phase_BJ1)).sum(dim=1)
    fall_B1 = 12 * torch.rand(count, 1, generator=random)
    start_B1 = 0.8 * torch.rand(count, 1, generator=random)
    return torch.exp(log_BL - fall_B1 * ((place_L - start_B1).clamp(min=0) / 0.8) ** 2)


def lamp(count: int, nm_L: Tensor, random: torch.Generator) -> Tensor:
    """(B, L), maximum 1 or less: a coloured diode, or a white one (a blue peak with phosphor)."""
    centre_B1 = 450 + 230 * torch.rand(count, 1, generator=random)
    width_B1 = 6 + 22 * torch.rand(count, 1, generator=random)
    coloured_BL = _peak(nm_L, centre_B1, width_B1)
    phosphor_B1 = 2 * torch.rand(count, 1, generator=random)
    warm_B1 = 570 + 40 * torch.rand(count, 1, generator=random)
    white_BL = _peak(nm_L, torch.tensor(452.0), torch.tensor(11.0)) + phosphor_B1 * _peak(
        nm_L, warm_B1, torch.tensor(55.0)
    )
    is_white_B1 = torch.rand(count, 1, generator=random) < 0.4
    return torch.where(is_white_B1, white_BL / (1 + phosphor_B1), coloured_BL)


def _peak(nm_L: Tensor, centre: Tensor, width: Tensor) -> Tensor:
    return torch.exp(-(((nm_L - centre) / width) ** 2) / 2)
