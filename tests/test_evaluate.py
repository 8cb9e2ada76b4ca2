"""Checkpoints of ours score what their run scored; the authors' give what their model gives on their input."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn
from torchvision.transforms.functional import to_tensor

from hsray.cli import app
from hsray.datasets import CubeStore
from hsray.datasets.views import fit_view
from hsray.datasets.writer import Plan, StoreWriter
from hsray.errors import RequestError
from hsray.evaluate import evaluate
from hsray.models import build_decoder, build_encoder
from hsray.scores import scores
from hsray.single import train
from hsray.training.metrics import confusion
from tests.tiny import tiny_store

WIDTH = {"decoder.width": 4}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    images = {"train": 2, "val": 1, "test": 2}
    tiny_store(folder, size=(9, 8), images=images)
    tiny_store(folder, "other", size=(9, 8), images=images, bands=9)
    return folder


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("runet", WIDTH),
        ("runet-pca1", WIDTH),
        ("mlp", {"task": "spectral", "decoder.hidden": 8}),
        ("hypersl-frozen-bands", {"task": "spectral", "decoder.hidden": 8, "batch": 64}),
        ("hypersl-lora", {"task": "spectral", "decoder.hidden": 8, "batch": 64}),
    ],
)
def test_a_run_scores_again_what_it_scored(root: Path, tmp_path: Path, strategy: str, options: dict[str, Any]) -> None:
    result = train("tiny", strategy, out=tmp_path / "run", data_root=root, epochs=1, **options)
    for checkpoint in (tmp_path / "run", tmp_path / "run" / "best.safetensors"):
        found = evaluate(checkpoint, "tiny", data_root=root)
        assert {f"test/{name}": score for name, score in found.scores.items()}.items() <= result["metrics"].items()
        assert found.loss == result["metrics"]["test/loss"]
    validation = evaluate(tmp_path / "run", "tiny", split="val", data_root=root)
    assert validation.scores["jaccard_macro"] == result["metrics"]["val/jaccard_macro"]


def test_the_pretrained_file_is_not_needed_any_more(root: Path, tmp_path: Path) -> None:
    encoder = build_encoder("hypersl", 12, torch.linspace(450, 900, 12), width=16, depth=2, heads=2)
    save_file(encoder.state_dict(), tmp_path / "w.safetensors")
    recipe = {
        "name": "mine", "adapter": {"kind": "full"}, "decoder": {"name": "mlp", "hidden": 8},
        "encoder": {"name": "hypersl", "width": 16, "depth": 2, "heads": 2, "weights": str(tmp_path / "w.safetensors")},
    }  # fmt: skip
    result = train("tiny", recipe, out=tmp_path / "run", task="spectral", data_root=root, epochs=1, batch=64)
    (tmp_path / "w.safetensors").unlink()
    found = evaluate(tmp_path / "run", "tiny", data_root=root)
    assert found.scores["jaccard_macro"] == result["metrics"]["test/jaccard_macro"]


def of_authors(path: Path, tensors: dict[str, torch.Tensor], prefix: str = "") -> Path:
    named = {prefix + name: tensor for name, tensor in tensors.items()} | {"criterion.weight": torch.ones(4)}
    torch.save({"epoch": 7, "state_dict": named, "hyper_parameters": {"cfg": Path("no tensor")}}, path)
    return path


def expected(store: CubeStore, model: nn.Module, pixels: bool = False) -> dict[str, float]:
    """The scores of a model on what torchvision's ToTensor makes of the test cubes, as the authors feed it."""
    total = np.zeros((store.num_classes, store.num_classes), dtype=np.int64)
    for image in store.images("test"):
        x_CHW = to_tensor(np.array(store.cube_HWC("test", image))).float()
        with torch.inference_mode():
            logits = (
                model.eval()(x_CHW.flatten(1).T).T.reshape(-1, *x_CHW.shape[1:]) if pixels else model(x_CHW[None])[0]
            )
        labels_HW = torch.from_numpy(np.array(store.labels_HW("test", image), dtype=np.int64))
        total += confusion(logits.argmax(0), labels_HW, store.num_classes, store.ignore_id)
    return scores(total, store.ignore_id)


def bytes_store(store: CubeStore, root: Path) -> CubeStore:
    """The store again, its cubes in 8 bits."""
    splits = {split: store.images(split) for split in ("train", "val", "test")}
    plan = Plan("bytes", store.classes, 0, tuple(store.wavelengths_nm), splits, (), {})
    writer = StoreWriter(root / "bytes", plan)
    for split, images in splits.items():
        for image in images:
            cube_HWC = (store.cube_HWC(split, image) * 200).clip(0, 255).astype(np.uint8)
            writer.write(split, image, cube_HWC, store.labels_HW(split, image))
    writer.finish()
    return CubeStore(root / "bytes")


@pytest.mark.parametrize("prefix", ["", "model.net."])
def test_an_authors_checkpoint_gives_its_models_scores_on_their_input(root: Path, tmp_path: Path, prefix: str) -> None:
    torch.manual_seed(1)
    unet = build_decoder("runet", 12, 4, width=4).eval()
    path = of_authors(tmp_path / "hyko2-runet.ckpt", unet.state_dict(), prefix)
    for store in (CubeStore(root / "tiny"), bytes_store(CubeStore(root / "tiny"), tmp_path)):
        found = evaluate(path, str(store.path), strategy="runet", data_root=root, **WIDTH)
        assert found.scores == expected(store, unet)


def test_hs3bench_is_what_torchvision_makes_of_stored_values(root: Path, tmp_path: Path) -> None:
    for store in (CubeStore(root / "tiny"), bytes_store(CubeStore(root / "tiny"), tmp_path)):
        cube_HWC = np.array(store.cube_HWC("test", "test-00"))
        wanted_CHW = to_tensor(cube_HWC).float()
        raw_1CHW = torch.from_numpy(cube_HWC).permute(2, 0, 1)[None].float()
        bands = fit_view(store, [0], "bands", normalise="hs3bench").layer(raw_1CHW)[0]
        torch.testing.assert_close(bands, wanted_CHW, rtol=1e-6, atol=0)
        mean = fit_view(store, [0], "mean", normalise="hs3bench").layer(raw_1CHW)[0]
        torch.testing.assert_close(mean, wanted_CHW.mean(0, keepdim=True), rtol=1e-5, atol=1e-6)
    with pytest.raises(RequestError, match="each image alone"):
        fit_view(store, [0], "pca", normalise="hs3bench")


def test_an_authors_checkpoint_with_its_encoder(root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    store = CubeStore(root / "tiny")
    nm = torch.as_tensor(store.wavelengths_nm, dtype=torch.float32)
    encoder = build_encoder("hypersl", 12, nm, width=16, depth=2, heads=2, decoder_depth=2).eval()
    head = build_decoder("hypersl-fc", 16, 4).eval()
    tensors = {f"backbone.spectral_encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    path = of_authors(tmp_path / "hypersl.ckpt", tensors | head.state_dict())
    options = {"encoder.width": 16, "encoder.depth": 2, "encoder.heads": 2}
    found = evaluate(path, "tiny", strategy="hypersl-small-fc", data_root=root, **options)
    assert found.task == "spectral"
    assert found.scores == expected(store, nn.Sequential(encoder, head), pixels=True)


def test_an_authors_head_on_frozen_features(root: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    store = CubeStore(root / "tiny")
    nm = torch.as_tensor(store.wavelengths_nm, dtype=torch.float32)
    encoder = build_encoder("hypersl", 12, nm, width=16, depth=2, heads=2).eval()
    save_file(encoder.state_dict(), tmp_path / "w.safetensors")
    head = build_decoder("hypersl-fc", 16, 4).eval()
    form = {"name": "hypersl", "width": 16, "depth": 2, "heads": 2, "weights": str(tmp_path / "w.safetensors")}
    recipe = {"name": "f", "encoder": form, "adapter": {"kind": "frozen"}, "decoder": {"name": "hypersl-fc"}}
    found = evaluate(of_authors(tmp_path / "fc.ckpt", head.state_dict()), "tiny", strategy=recipe, data_root=root)
    assert found.scores == expected(store, nn.Sequential(encoder, head), pixels=True)


def test_what_does_not_fit_is_refused(root: Path, tmp_path: Path) -> None:
    train("tiny", "runet", out=tmp_path / "run", data_root=root, epochs=1, **WIDTH)
    with pytest.raises(RequestError, match="takes 12 channels; the dataset gives 9"):
        evaluate(tmp_path / "run", "other", data_root=root)
    path = of_authors(tmp_path / "unet.ckpt", build_decoder("runet", 12, 4, width=4).state_dict())
    with pytest.raises(
        RequestError, match=r"inc\.double_conv\.0\.weight: \(4, 12, 3, 3\) in the weights, \(4, 9, 3, 3\)"
    ) as e:
        evaluate(path, "other", strategy="runet", data_root=root, **WIDTH)
    assert "'other' has 9 bands and 4 classes" in str(e.value)
    with pytest.raises(RequestError, match=r"norm|not in the decoder|missing in the weights"):
        evaluate(path, "tiny", strategy="unet", data_root=root, **WIDTH)
    with pytest.raises(RequestError, match="does not say what it is"):
        evaluate(path, "tiny", data_root=root)
    with pytest.raises(RequestError, match="no such checkpoint"):
        evaluate(tmp_path / "nowhere", "tiny", data_root=root)
    with pytest.raises(RequestError, match="holds no run"):
        evaluate(tmp_path, "tiny", data_root=root)
    with pytest.raises(RequestError, match="has no option"):
        evaluate(path, "tiny", strategy="runet", data_root=root, **{"decoder.depth": 3})
    with pytest.raises(RequestError, match=r"view\.normalise"):
        evaluate(path, "tiny", strategy="runet", data_root=root, **{"view.normalise": "maximum"})
    with pytest.raises(RequestError, match="cannot be built"):
        evaluate(path, "tiny", strategy="runet", data_root=root, **{"decoder.width": "wide"})
    with pytest.raises(RequestError, match="no split"):
        evaluate(tmp_path / "run", "tiny", split="tset", data_root=root)
    weights = tmp_path / "run" / "best.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(RequestError, match="no whole checkpoint"):
        evaluate(tmp_path / "run", "tiny", data_root=root)
    weights.unlink()
    with pytest.raises(RequestError, match="left no weights"):
        evaluate(tmp_path / "run", "tiny", data_root=root)


def test_the_command_prints_the_scores_beside_the_published_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tiny_store(tmp_path, "hyko2", size=(8, 8), images={"train": 1, "val": 1, "test": 2})
    unet = build_decoder("runet", 12, 4, width=4).eval()
    path = of_authors(tmp_path / "a.ckpt", unet.state_dict())
    options = ["--strategy", "runet", "--set", "decoder.width=4"]
    app(["evaluate", str(path), "hyko2", *options, "--data", str(tmp_path)], standalone_mode=False)
    jaccard = 100 * expected(store, unet)["jaccard_macro"]
    line = next(line for line in capsys.readouterr().out.splitlines() if "jaccard_macro" in line)
    assert f"{jaccard:.2f} %" in line and "published  58.64" in line and f"{jaccard - 58.64:+.2f}" in line


def test_the_runs_weights_are_the_models(root: Path, tmp_path: Path) -> None:
    """A changed weight changes the scores: the file is what is scored."""
    train("tiny", "runet", out=tmp_path / "run", data_root=root, epochs=1, **WIDTH)
    before = evaluate(tmp_path / "run", "tiny", data_root=root).loss
    weights = load_file(tmp_path / "run" / "best.safetensors")
    weights["decoder.outc.conv.bias"] = weights["decoder.outc.conv.bias"] + torch.tensor([0.0, 5.0, 0.0, 0.0])
    save_file(weights, tmp_path / "run" / "best.safetensors")
    assert evaluate(tmp_path / "run", "tiny", data_root=root).loss > before
