"""DeepLabV3+ of HS3-Bench as an encoder: whose weights it takes, and what learns. Its outputs: test_parity.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models import build_decoder, build_encoder
from hsray.models.deeplab import DeepLab, DeepLabEncoder
from hsray.strategies.assembly import assemble
from hsray.strategies.strategy import strategy
from hsray.strategies.weights import load_weights, misfit
from tests.tiny import tiny_store


def encoder(**options: str) -> DeepLabEncoder:
    built = build_encoder("deeplabv3plus-hs3", 3, **options)
    assert isinstance(built, DeepLabEncoder)
    return built.eval()


def cityscapes(backbone: str = "mobilenetv2") -> nn.Module:
    torch.manual_seed(3)
    whole = DeepLab(3, 19, backbone)
    for name, buffer in whole.named_buffers():
        if "running" in name:
            nn.init.uniform_(buffer, 0.5, 1.5)
    return whole.eval()


def test_weights_of_a_segmentation_model_give_what_it_gives_up_to_its_classes(tmp_path: Path) -> None:
    whole = cityscapes()
    torch.save({"model_state": whole.state_dict(), "cur_itrs": 30000, "best_score": 0.7}, tmp_path / "w.pth")
    ours = encoder()
    load_weights(ours, str(tmp_path / "w.pth"))
    image = torch.rand(1, 3, 37, 53)
    head = build_decoder("linear", ours.out_channels, 19, norm=False)
    last = whole.classifier.classifier[3]
    head.classify.load_state_dict(last.state_dict())
    torch.testing.assert_close(head(ours(image), (37, 53)), whole(ours.scale(image)))


@pytest.mark.parametrize("source", [lambda: timm.create_model("mobilenetv2_100"), torchvision.models.mobilenet_v2])
def test_weights_of_a_backbone_leave_the_head_as_it_was(source: Callable[[], nn.Module], tmp_path: Path) -> None:
    published = source().state_dict()
    save_file(published, tmp_path / "w.safetensors")  # which sorts the names
    ours = encoder()
    before = {name: tensor.clone() for name, tensor in ours.net.classifier.state_dict().items()}
    load_weights(ours, str(tmp_path / "w.safetensors"))
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.net.classifier.state_dict().items())
    # Every convolution of the backbone is one of the published, in their order; they end with one more.
    own = [tensor for tensor in ours.net.backbone.state_dict().values() if tensor.ndim == 4]
    theirs = [tensor for tensor in published.values() if tensor.ndim == 4]
    assert all(torch.equal(a, b) for a, b in zip(own, theirs[:-1], strict=True))


def test_the_larger_backbone_has_the_published_names() -> None:
    with torch.device("meta"):
        ours, published = encoder(backbone="resnet101"), timm.create_model("resnet101.tv_in1k")
    assert misfit(ours.state_dict(), _finite(ours.translate(published.state_dict())), ("",), "encoder") is None


def _finite(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: torch.zeros(()).expand(tensor.shape) for name, tensor in tensors.items()}


def test_the_authors_checkpoints_of_all_bands_give_their_backbone_and_head(tmp_path: Path) -> None:
    whole = build_decoder("deeplabv3plus-hs3", 15, 10)
    torch.save({"state_dict": {**whole.state_dict(), "criterion.weight": torch.ones(10)}}, tmp_path / "w.ckpt")
    ours = encoder()
    load_weights(ours, str(tmp_path / "w.ckpt"))
    for name, tensor in ours.net.state_dict().items():
        assert torch.equal(tensor, whole.model.state_dict()[name])


def test_the_cityscapes_recipe_freezes_the_backbone_alone(tmp_path: Path) -> None:
    torch.save(cityscapes().state_dict(), tmp_path / "w.pth")
    recipe = strategy(
        {"name": "pt", "base": "deeplabv3plus-cityscapes", "encoder": {"weights": str(tmp_path / "w.pth")}}
    )
    store = tiny_store(tmp_path, size=(20, 23))
    model = assemble(recipe, "segmentation", store, [0, 1], tmp_path / "cache").model.train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimiser = torch.optim.SGD(learning, lr=0.1)
    model(torch.rand(2, 3, 20, 23)).square().mean().backward()
    optimiser.step()
    moved = {name for name, tensor in model.state_dict().items() if not torch.equal(before[name], tensor)}
    assert not any(".backbone." in name for name in moved)
    assert "encoder.net.classifier.aspp.convs.0.0.weight" in moved
    assert "decoder.classify.weight" in moved


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (8, 8)])
def test_tiny_images_train_one_at_a_time(size: tuple[int, int]) -> None:
    model = build_decoder("deeplabv3plus-hs3", 4, 3).train()
    logits = model(torch.rand(1, 4, *size))
    assert logits.shape == (1, 3, *size)
    logits.sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_bad_requests() -> None:
    with pytest.raises(RequestError, match=r"no backbone 'xception'[\s\S]*mobilenetv2, resnet101"):
        build_decoder("deeplabv3plus-hs3", 15, 3, backbone="xception")
    with pytest.raises(RequestError, match="three channels"):
        build_encoder("deeplabv3plus-hs3", 15)
    with pytest.raises(RequestError, match="takes one map"):
        build_decoder("deeplabv3plus-hs3", (3, 8), 3)
