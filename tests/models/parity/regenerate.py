"""Run the reference implementations on formula weights and keep what they give, for tests/models/test_parity.py.

    python -m tests.models.parity.regenerate --cross-domain-hsi DIR --hyperseg DIR --hypersl DIR

The folders are checkouts of github.com/nickstheisen/cross-domain-hsi, github.com/nickstheisen/hyperseg and of the
official HyperSL. Nothing of them is kept but names, shapes and numbers: `<model>.json` and `<model>.npz`. All runs
in float64, so that a result does not hang on the machine; MiniRocket, which compares, in its own float32.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from tests.models.parity.formula import is_constant, sampled, uniform, weights

HERE = Path(__file__).parent
CLASSES = 11
SIZES = {"even": (2, 32, 48), "odd": (1, 37, 51)}  # images, height, width
SPECTRA = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("cross-domain-hsi", "hyperseg", "hypersl"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    paths = parser.parse_args()
    torch.set_grad_enabled(False)
    study = cross_domain(paths.cross_domain_hsi)
    unets(study)
    spectral(study)
    minirockets(study)
    heads(study)
    hypersl(paths.hypersl)
    deeplabs(paths.hyperseg)
    total = sum(path.stat().st_size for path in HERE.iterdir() if path.suffix in (".json", ".npz"))
    print(f"{total / 1000:.0f} kB in {HERE}")


def unets(study: SimpleNamespace) -> None:
    for name, norm, bands in (("unet", False, 25), ("runet", True, 15)):
        model = study.unet.UNet(config(bands, batch_norm=norm, dropout=0.25, bilinear=True, dim_reduction=None))
        on_images(name, model, decoder(name, bands))


def spectral(study: SimpleNamespace) -> None:
    # Every list is one of the study's configuration files, but for the MLP's, which the files leave open.
    on_spectra("fc", study.mlp.MLP(config(25, hidden_nodes=[])), decoder("fc", 25))
    on_spectra("mlp", study.mlp.MLP(config(15, hidden_nodes=[32, 32])), decoder("mlp", 15, hidden=32, depth=2))
    for name, bands, kernels, size, norm in (
        ("liunet", 128, [32, 32, 64, 64], 3, True),
        ("justo-liunet", 25, [6, 12, 18, 24], 7, False),
    ):
        model = study.liunet.LiuNet(config(bands, n_kernels=kernels, kernel_size=size, batch_norm=norm))
        on_spectra(name, model, decoder(name, bands))


def minirockets(study: SimpleNamespace) -> None:
    for name, bands, scale in (("minirocket", 128, None), ("hdc-minirocket", 25, 1.5), ("hdc-minirocket-0", 15, 0.0)):
        model = study.hdcminirocket.MiniRocketSeg(
            config(bands, use_hdc=scale is not None, scale=scale or 0.0, feature_dim=9996, features_only=False)
        )
        sample_NL = torch.from_numpy(uniform(f"{name} sample", (1500, bands)))
        model.train()(sample_NL[:, :, None, None])  # the first batch in training fits the biases
        state = model.state_dict()
        biases = {key: value.numpy() for key, value in state.items() if "biases_" in key}
        options = {} if scale is None else {"scale": scale}
        own = decoder("hdc-minirocket" if options else name, bands, **options)
        on_spectra(name, model, own, extra=biases, dtype=torch.float32)


def heads(study: SimpleNamespace) -> None:
    for name in ("hypersl-fc", "hypersl-clf"):
        cfg = config(256, wavelengths_file="", use_backbone=False, mlp_classifier=name == "hypersl-fc")
        on_spectra(name, study.hypersl.HyperSLClassification(cfg), decoder(name, 256))


def hypersl(path: Path) -> None:
    sys.path.insert(0, str(path))
    model = importlib.import_module("engine.model").SpectralSharedEncoder(
        embedding_dim=256, encoder_depth=8, decoder_depth=4, num_heads=8
    )
    shapes = load(model, torch.float64)
    spectra_B1L = torch.from_numpy(uniform("hypersl spectra", (4, 128))).double()[:, None]
    nm_BL = torch.linspace(449, 957, 128, dtype=torch.float64).expand(4, -1)
    feature = model.encoder_forward(spectra_B1L, nm_BL, 0.0)[0]
    torch.manual_seed(0)
    masked, key, value, restore, positions, _ = model.encoder_forward(spectra_B1L, nm_BL, 0.95)
    outputs = {
        "feature": feature.flatten(1),
        "masked_feature": masked.flatten(1),
        "reconstruction": model.decoder_forward(masked, key, value, restore, positions).squeeze(1),
        "keep": restore.argsort(dim=1)[:, : key.shape[2] - 1],  # without the global token
    }
    save("hypersl", {"part": "encoder", "name": "hypersl"}, shapes, {k: v.numpy() for k, v in outputs.items()}, {})


def deeplabs(path: Path) -> None:
    sys.path.insert(0, str(path / "hyperseg" / "models"))
    network = importlib.import_module("network.modeling")
    mobile = network.deeplabv3plus_mobilenet(CLASSES, output_stride=16, pretrained_backbone=False, num_channels=15)
    on_images("deeplabv3plus-mobilenet", Named(mobile), decoder("deeplabv3plus-hs3", 15, backbone="mobilenetv2"))
    # The function for ResNets fails (it passes on a number of channels that is not taken): put together as it would.
    trunk = network.resnet.resnet101(pretrained=False, replace_stride_with_dilation=[False, False, True])
    levels = network.IntermediateLayerGetter(trunk, {"layer4": "out", "layer1": "low_level"})
    head = network.DeepLabHeadV3Plus(2048, 256, CLASSES, [6, 12, 18])
    resnet = network.DeepLabV3(levels, head)
    on_images("deeplabv3plus-resnet101", Named(resnet), decoder("deeplabv3plus-hs3", 3, backbone="resnet101"))


def on_images(name: str, model: nn.Module, own: dict[str, Any]) -> None:
    shapes = load(model, torch.float64)
    outputs = {}
    for case, (count, height, width) in SIZES.items():
        x_BCHW = uniform(f"{name} {case}", (count, own["in_channels"], height, width))
        outputs[case] = model(torch.from_numpy(x_BCHW).double()).numpy()
    save(name, own, shapes, {case: sampled(output, f"{name} {case}") for case, output in outputs.items()}, {})


def on_spectra(
    name: str,
    model: nn.Module,
    own: dict[str, Any],
    extra: dict[str, np.ndarray] | None = None,
    dtype: torch.dtype = torch.float64,
) -> None:
    shapes = load(model, dtype)
    x_BL = torch.from_numpy(uniform(f"{name} spectra", (SPECTRA, own["in_channels"]))).to(dtype)
    save(name, own, shapes, {"spectra": model(x_BL[:, :, None, None])[:, :, 0, 0].numpy()}, extra or {})


def load(model: nn.Module, dtype: torch.dtype) -> dict[str, tuple[int, ...]]:
    """Put the formula's weights into a reference model; constants stay. Returns names and shapes."""
    state: dict[str, Tensor] = model.state_dict()
    shapes = {key: tuple(tensor.shape) for key, tensor in state.items()}
    model.load_state_dict({**{k: v for k, v in state.items() if is_constant(k)}, **weights(shapes)})
    model.to(dtype).eval()
    return shapes


def save(
    name: str,
    own: dict[str, Any],
    shapes: dict[str, tuple[int, ...]],
    outputs: dict[str, np.ndarray],
    extra: dict[str, np.ndarray],
) -> None:
    content = {"ours": own, "tensors": {key: list(shape) for key, shape in shapes.items()}}
    text = json.dumps(content, separators=(",", ":")).replace('],"', '],\n"')
    (HERE / f"{name}.json").write_text(text + "\n", "utf-8")
    np.savez_compressed(HERE / f"{name}.npz", **{f"out {key}": value for key, value in outputs.items()}, **extra)
    largest = {key: float(np.abs(value).max()) for key, value in outputs.items()}
    print(f"{name}: {len(shapes)} tensors, largest outputs {largest}")


def decoder(name: str, in_channels: int, **options: Any) -> dict[str, Any]:
    """How hsray calls the same model."""
    return {
        "part": "decoder",
        "name": name,
        "in_channels": in_channels,
        "num_classes": CLASSES,
        "options": options,
    }


def config(channels: int, **options: Any) -> SimpleNamespace:
    return SimpleNamespace(model=SimpleNamespace(n_channels=channels, n_classes=CLASSES, **options))


class Module(nn.Module):
    """Stands for the study's Lightning module, of which these models need their configuration alone."""

    device = torch.device("cpu")

    def __init__(self, cfg: SimpleNamespace) -> None:
        super().__init__()
        self.cfg = cfg.model

    def save_hyperparameters(self) -> None:
        """Nothing is kept."""


class Named(nn.Module):
    """The network under the name that it has in the authors' checkpoints."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x_BCHW: Tensor) -> Tensor:
        return self.model(x_BCHW)


def cross_domain(path: Path) -> SimpleNamespace:
    """The study's model files, without its training, its data and the packages that those import."""
    sys.path.insert(0, str(path))
    root = path / "crossdomainhsi"
    for package, folder in (("crossdomainhsi.models", root / "models"), ("crossdomainhsi.datasets", root / "datasets")):
        stand_in(package).__path__ = [str(folder)]
    stand_in("crossdomainhsi.models.semsegmodule", SemanticSegmentationModule=Module)
    stand_in("crossdomainhsi.datasets.utils", read_wavelengths_file=lambda _: np.zeros(1, np.float32))
    names = ("unet", "mlp", "liunet", "hdcminirocket", "hypersl")
    return SimpleNamespace(**{name: importlib.import_module(f"crossdomainhsi.models.{name}") for name in names})


def stand_in(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(content)
    sys.modules[name] = module
    return module


if __name__ == "__main__":
    main()
