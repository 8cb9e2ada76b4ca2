"""The HSI adapter: at first the ViT's own features, then all bands; the ViT stays as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from hsray.datasets.pseudorgb import rgb_bands
from hsray.errors import RequestError
from hsray.models import build_encoder
from hsray.models.hsi_adapter import HSIAdapter
from hsray.strategies.assembly import assemble
from hsray.strategies.strategy import strategy
from tests.tiny import tiny_store

BANDS = 20
NM = torch.linspace(450, 950, BANDS)
MODELS = ["vit_tiny_patch16_224", "vit_tiny_patch16_dinov3_qkvb", "eva02_tiny_patch14_224"]


def adapter(model: str = "vit_tiny_patch16_224", **options: object) -> HSIAdapter:
    torch.manual_seed(0)
    built = build_encoder(
        "hsi-adapter", BANDS, NM, **{"model": model, "depth": 4, "width": 48, "spectral_width": 16, **options}
    )
    assert isinstance(built, HSIAdapter)
    return built.eval()


def opened(model: HSIAdapter) -> HSIAdapter:
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("gate_D"):
                parameter.fill_(1.0)
    return model


@pytest.mark.parametrize("model", MODELS)
def test_at_first_the_maps_are_the_vits(model: str) -> None:
    ours, image = adapter(model), torch.rand(1, BANDS, 37, 53)
    alone = ours.vit(image[:, list(rgb_bands(NM.numpy()))])
    for own, theirs in zip(ours(image)[1:], alone[1:], strict=True):
        torch.testing.assert_close(own, theirs, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(opened(ours)(image)[-1], alone[-1], atol=1e-2)


def test_bands_beyond_rgb_are_seen_once_the_gates_open() -> None:
    ours, image = opened(adapter()), torch.rand(1, BANDS, 32, 32)
    other = image.clone()
    unseen = next(band for band in range(BANDS) if band not in ours.rgb)
    other[:, unseen] = 1 - other[:, unseen]
    assert all(not torch.allclose(a, b, atol=1e-4) for a, b in zip(ours(image)[1:], ours(other)[1:], strict=True))


def test_everything_around_the_vit_learns_whichever_map_is_used() -> None:
    ours = adapter().train()
    ours(torch.rand(1, BANDS, 16, 16))[-1].square().sum().backward()
    assert [name for name, p in ours.named_parameters() if p.grad is None] == []


def test_a_frozen_vit_stays_to_the_bit_while_the_rest_moves(tmp_path: Path) -> None:
    whole = timm.create_model("vit_tiny_patch16_224", depth=2)
    save_file(whole.state_dict(), tmp_path / "w.safetensors")
    recipe = strategy(
        {
            "name": "tiny",
            "base": "dinov2-hsi-adapter",
            "encoder": {"model": "vit_tiny_patch16_224", "depth": 2, "levels": 2, "width": 48}
            | {"weights": str(tmp_path / "w.safetensors"), "family": "rgb"},
        }
    )
    assert recipe.family == "cross-modality"
    store = tiny_store(tmp_path, size=(20, 23))
    model = assemble(recipe, "segmentation", store, [0, 1], tmp_path / "cache").model.train()
    torch.testing.assert_close(model.encoder.vit.vit.patch_embed.proj.weight, whole.patch_embed.proj.weight)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    optimiser = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    for _ in range(2):  # the gates first, then what stands behind them
        optimiser.zero_grad()
        model(torch.rand(2, store.bands, 20, 23)).square().mean().backward()
        optimiser.step()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert not any(name.startswith("encoder.vit.") for name in moved)
    assert {"encoder.stages.0.inject.gate_D", "encoder.spectra.embed.weight", "encoder.prior.project.weight"} <= moved


def test_bad_requests() -> None:
    with pytest.raises(RequestError, match="needs the wavelength"):
        build_encoder("hsi-adapter", 3, None)
    with pytest.raises(RequestError, match="cannot be 50 wide"):
        adapter(width=50)
