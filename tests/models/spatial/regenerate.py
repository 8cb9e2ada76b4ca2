"""Run the official SpectralEarth and SpatSIGMA on formula weights and keep what they give, and their names and shapes.

    python -m tests.models.spatial.regenerate --spectral-earth DIR --hypersigma DIR

The folders are checkouts of github.com/AABNassim/spectral_earth and github.com/WHU-Sigma/HyperSIGMA. Nothing of them is
kept but names, shapes and numbers. Runs are in float64, so that a result does not hang on the machine.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy as np
import timm.layers
import torch
from torch import nn

from tests.models.parity.formula import sampled, uniform, weights

FOLDER = Path(__file__).parent
BANDS, SIZE = 202, (32, 48)


def formula_state(model: nn.Module) -> None:
    """Load the formula's weights."""
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    model.load_state_dict(weights(shapes), strict=False)


def names(model: nn.Module) -> dict[str, list[int]]:
    return {name: list(tensor.shape) for name, tensor in model.state_dict().items()}


def spectral_earth(checkout: Path) -> None:
    sys.path.insert(0, str(checkout))
    known = importlib.import_module("src.backbones.registry").BACKBONE_REGISTRY
    image = torch.from_numpy(uniform("spectralearth", (1, BANDS, *SIZE))).double()
    outputs: dict[str, np.ndarray] = {}
    shape = {"embed_dim": 48, "depth": 4, "num_heads": 4, "num_classes": 0, "dynamic_img_size": True}
    vit = importlib.import_module("src.backbones.spec_vit").SpecVisionTransformer(**shape).double().eval()
    formula_state(vit)
    resnet = known["spec_resnet50"](num_classes=0, return_features=True).double().eval()
    formula_state(resnet)
    with torch.inference_mode():
        for depth, tokens in enumerate(vit.get_intermediate_layers(image, n=4, norm=True)):
            outputs[f"vit {depth}"] = sampled(tokens.transpose(1, 2).numpy(), f"vit {depth}")
        outputs["resnet"] = sampled(resnet(image).numpy(), "resnet")
    np.savez_compressed(FOLDER / "spectralearth.npz", **outputs)  # type: ignore[arg-type]
    sizes = ("small", "base", "large", "huge")
    with torch.device("meta"):
        found = {size: names(known[f"spec_vit_{size}"](num_classes=0, token_patch_size=4)) for size in sizes}
        found["resnet50"] = names(known["spec_resnet50"](num_classes=0))
    write("spectralearth", found)


def hypersigma(checkout: Path) -> None:
    # Named by the official files, and used there for logging, for a name that timm has moved, and for positions.
    dist = SimpleNamespace(get_dist_info=lambda: (0, 1))
    positions = SimpleNamespace(get_2d_sincos_pos_embed=lambda width, side, cls_token: np.zeros((side * side, width)))
    for name, module in {"mmengine": ModuleType("mmengine"), "mmengine.dist": dist, "util": ModuleType("util")}.items():
        sys.modules[name] = module  # type: ignore[assignment]
    sys.modules["util.pos_embed"] = positions  # type: ignore[assignment]
    sys.modules["timm.models.layers"] = timm.layers
    sys.path[:0] = [str(checkout / "Pretrain"), str(checkout / "ImageClassification" / "model")]
    shape = {"embed_dim": 48, "depth": 6, "num_heads": 4, "qkv_bias": True, "interval": 3}
    vit = importlib.import_module("SpatViT_seg").SpatViT(
        img_size=SIZE, patch_size=8, in_chans=15, out_indices=[0, 2, 3, 5], **shape
    )
    formula_state(vit.double().eval())
    for name in ("fpn1", "fpn2", "fpn3", "fpn4"):  # of the decoder: its maps are those of the blocks
        setattr(vit, name, nn.Identity())
    image = torch.from_numpy(uniform("hypersigma", (2, 15, *SIZE))).double()
    with torch.inference_mode():
        maps = vit.forward_features(image, 8)[1:]
    outputs = {f"map {index}": sampled(one.numpy(), f"map {index}") for index, one in enumerate(maps)}
    np.savez_compressed(FOLDER / "hypersigma.npz", **outputs)  # type: ignore[arg-type]
    pretrained = importlib.import_module("models_mae_Spat")
    options = SimpleNamespace(image_size=64, use_ckpt="False")
    sizes = {"base": pretrained.spat_mae_b, "large": pretrained.spat_mae_l, "huge": pretrained.spat_mae_h}
    write("hypersigma", {size: names(build(options, inchannels=100)) for size, build in sizes.items()})


def write(name: str, found: dict[str, dict[str, list[int]]]) -> None:
    (FOLDER / f"{name}.json").write_text(json.dumps(found, separators=(",", ":")) + "\n", "utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--spectral-earth", type=Path, required=True)
    parser.add_argument("--hypersigma", type=Path, required=True)
    asked = parser.parse_args()
    spectral_earth(asked.spectral_earth)
    hypersigma(asked.hypersigma)
