"""Earth-observation encoders through torchgeo: its own outputs and names, wavelengths, odd sizes, refusals."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models import build_encoder
from hsray.strategies.adapters import adapt
from hsray.strategies.assembly import assemble
from hsray.strategies.provenance import Provenance, provenance
from hsray.strategies.strategy import Encoder, strategy
from hsray.strategies.weights import load_weights, misfit
from tests.tiny import tiny_store

pytest.importorskip("torchgeo.models")

NAMES = ["dofa", "copernicusfm", "panopticon"]
NM = torch.tensor([842.0, 443, 490, 560, 665])


def tiny(name: str, nm_L: Tensor = NM, **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return build_encoder(name, len(nm_L), nm_L, size="tiny", **options).eval()


def published(name: str, size: str) -> nn.Module:
    """torchgeo's model of a size of ours."""
    from torchgeo.models import copernicusfm, dofa, panopticon

    if name == "panopticon":
        return panopticon.Panopticon(img_size=518).model
    width, depth, heads = {"tiny": (48, 4, 4), "base": (768, 12, 12)}[size]
    model = {"dofa": dofa.DOFA, "copernicusfm": copernicusfm.CopernicusFM}[name]
    return model(embed_dim=width, depth=depth, num_heads=heads, num_classes=0)


@pytest.mark.parametrize("name", NAMES)
def test_public_weights_have_our_names_and_shapes(name: str) -> None:
    with torch.device("meta"):
        own = build_encoder(name, 5, NM.cpu()).state_dict()
        public = published(name, "base").state_dict()
    spare = build_encoder(name, 5, NM, size="tiny").spare_tensors
    assert set(own) == {key for key in public if key in own or not key.startswith(spare)}
    assert all(own[key].shape == public[key].shape for key in own)


@pytest.mark.parametrize(("name", "side"), [("dofa", 224), ("copernicusfm", 224), ("copernicusfm", 96)])
def test_the_last_map_is_what_torchgeo_pools(name: str, side: int) -> None:
    own, whole = tiny(name), published(name, "tiny").eval()
    assert not whole.load_state_dict(own.state_dict(), strict=False).unexpected_keys
    image = torch.rand(1, 5, side, side)
    with torch.inference_mode():
        if name == "dofa":
            expected = whole.forward_features(image, (NM / 1000).tolist())
        else:
            unknown, widths = torch.full((1, 4), float("nan")), own.bandwidths_nm.tolist()
            expected = whole.forward_features(image, unknown, NM.tolist(), widths)
        torch.testing.assert_close(whole.fc_norm(own(image)[-1].mean(dim=(2, 3))), expected)


def test_panopticon_runs_its_blocks_as_timm_does() -> None:
    import timm
    from torchgeo.models.panopticon import PanopticonPE

    own = tiny("panopticon")
    whole = timm.create_model("vit_base_patch14_dinov2", embed_dim=48, depth=4, num_heads=4)
    whole.patch_embed = PanopticonPE(144, 48, 14, {"attn_cfg": {"num_heads": 16}})
    whole.load_state_dict(own.state_dict())
    image = torch.rand(1, 5, 518, 518)
    with torch.inference_mode():
        tokens = whole.eval().forward_features({"imgs": image, "chn_ids": NM.repeat(1, 1)})
        torch.testing.assert_close(own(image)[-1].flatten(2).transpose(1, 2), tokens[:, 1:])


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("bands", [2, 9])
def test_any_bands_and_odd_sizes(name: str, bands: int) -> None:
    encoder = tiny(name, torch.linspace(450, 950, bands), levels=2)
    with torch.inference_mode():
        maps = encoder(torch.rand(2, bands, 17, 50))
    height, width = maps[0].shape[2:]
    assert all(side % encoder.patch == 0 for side in (height, width))
    for one, channels, stride in zip(maps, encoder.out_channels, encoder.strides, strict=True):
        assert one.shape == (2, channels, height // stride, width // stride)


@pytest.mark.parametrize("name", NAMES)
def test_bands_are_told_apart_by_their_wavelengths_and_not_by_their_order(name: str) -> None:
    order = torch.tensor([3, 0, 4, 1, 2])
    encoder, reordered = tiny(name), tiny(name, NM[order])
    reordered.load_state_dict(encoder.state_dict())
    image = torch.rand(1, 5, 28, 28)
    with torch.inference_mode():
        last = encoder(image)[-1]
        torch.testing.assert_close(reordered(image[:, order])[-1], last, rtol=1e-3, atol=1e-5)
        assert (reordered(image)[-1] - last).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_places_are_told_apart_from_scratch(name: str) -> None:
    with torch.inference_mode():
        last = tiny(name)(torch.full((1, 5, 56, 56), 0.5))[-1]
    assert (last[..., 0, 0] - last[..., 1, 2]).abs().max() > 1e-3


@pytest.mark.parametrize("name", NAMES)
def test_everything_that_is_built_learns_and_lora_alone_where_asked(name: str) -> None:
    encoder = tiny(name).train()
    sum(one.square().mean() for one in encoder(torch.rand(1, 5, 28, 28))[1:]).backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())
    adapted = adapt(tiny(name), "lora", rank=2)
    learning = [key for key, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert len(learning) >= 8
    assert all("lora_" in key for key in learning)


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_weights_give_the_same_maps(name: str, tmp_path: Path) -> None:
    encoder = tiny(name)
    torch.save(encoder.state_dict() | {"mask_token": torch.zeros(1)}, tmp_path / "own.pth")
    torch.manual_seed(1)
    other = build_encoder(name, 5, NM, size="tiny").eval()
    load_weights(other, str(tmp_path / "own.pth"))
    told = provenance(Encoder(name=name, weights=str(tmp_path / "own.pth")))
    assert told == Provenance("earth-observation", encoder.seen)
    image = torch.rand(1, 5, 28, 28)
    with torch.inference_mode():
        torch.testing.assert_close(other(image)[-1], encoder(image)[-1], rtol=0, atol=0)


def test_the_authors_own_files_of_dofa_may_hold_more() -> None:
    own = tiny("dofa").state_dict()
    more = {"norm.weight": torch.ones(48), "projector.bias": torch.ones(3)}
    assert misfit(own, own | more, tiny("dofa").spare_tensors, "encoder") is None


@pytest.mark.parametrize("decoder", ["linear", "upernet"])
def test_a_strategy_of_theirs_sees_the_bands_of_a_dataset(decoder: str, tmp_path: Path) -> None:
    store = tiny_store(tmp_path, images={"train": 2, "val": 1, "test": 1})
    recipe = {"name": "s", "encoder": {"name": "dofa", "size": "tiny"}, "decoder": {"name": decoder}}
    model = assemble(strategy(recipe), "segmentation", store, [0, 1], tmp_path).model.eval()
    with torch.inference_mode():
        assert model(torch.rand(1, 12, 19, 33)).shape == (1, store.num_classes, 19, 33)
    with pytest.raises(RequestError, match="needs the wavelength of every band"):
        assemble(strategy(recipe | {"stem": {"name": "conv1x1"}}), "segmentation", store, [0], tmp_path)
    with pytest.raises(RequestError, match="needs the wavelength of every band"):
        assemble(strategy(recipe | {"view": {"kind": "pca"}}), "segmentation", store, [0], tmp_path)


@pytest.mark.parametrize("name", NAMES)
def test_bad_requests(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for nm, options, message in [
        (NM[:3], {}, "5 input channels and 3 wavelengths"),
        (NM, {"size": "enormous"}, "has no size 'enormous'"),
        (NM, {"size": "tiny", "levels": 5}, "cannot give 5 levels"),
    ]:
        with pytest.raises(RequestError, match=message):
            build_encoder(name, 5, nm, **options)
    with pytest.raises(RequestError, match="no public weights for the size 'tiny'"):
        load_weights(tiny(name), "torchgeo")
    monkeypatch.setitem(sys.modules, "torchgeo", None)
    with pytest.raises(RequestError) as missing:
        build_encoder(name, 5, NM)
    assert "hsray[geo]" in str(missing.value)


@pytest.mark.parametrize("name", NAMES)
def test_public_weights_that_cannot_be_downloaded_are_named(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("no_proxy", "")
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nobody listens there
    with torch.device("meta"):
        encoder = build_encoder(name, 5, NM)
    with pytest.raises(RequestError, match=f"public weights of '{name}' cannot be had") as refused:
        load_weights(encoder, "torchgeo")
    assert refused.value.where is not None
    assert refused.value.where.startswith("https://")


def test_bandwidths_of_copernicusfm_are_the_steps_between_bands_unless_given() -> None:
    encoder = tiny("copernicusfm", torch.tensor([500.0, 400, 450, 450.2]))
    torch.testing.assert_close(encoder.bandwidths_nm, torch.tensor([49.8, 50, 25.1, 25]))
    assert tiny("copernicusfm", bandwidth_nm=30).bandwidths_nm.tolist() == [30] * 5
    with pytest.raises(RequestError, match="single band"):
        build_encoder("copernicusfm", 1, NM[:1], size="tiny")
    with pytest.raises(RequestError, match=r"bands of 0\.1 nm"):
        tiny("copernicusfm", bandwidth_nm=0.1)
