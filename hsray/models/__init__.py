"""What learns: one architecture a file, and a registry of encoders and decoders."""

from hsray.models import hypersl, pyramid, spectral_heads, stems, unet
from hsray.models.registry import (
    accepted_options,
    build_decoder,
    build_encoder,
    build_stem,
    check_options,
    decoder,
    encoder,
    register_decoder,
    register_encoder,
    register_stem,
)

__all__ = [
    "accepted_options",
    "build_decoder",
    "build_encoder",
    "build_stem",
    "check_options",
    "decoder",
    "encoder",
    "hypersl",
    "pyramid",
    "register_decoder",
    "register_encoder",
    "register_stem",
    "spectral_heads",
    "stems",
    "unet",
]
