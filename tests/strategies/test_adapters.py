"""Adapters: what learns does, and what does not stays as it was to the bit."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models import build_encoder
from hsray.strategies.adapters import adapt, adapter_kinds, adapter_options, trained_parameters

ENCODERS = ("hypersl", "timm")


def encoder_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "hypersl":
        return build_encoder(name, 20, torch.linspace(450, 950, 20), width=16, depth=2, heads=2)
    return build_encoder(name, 3, model="tf_efficientnet_lite0", depth=2)


def step(name: str, encoder: nn.Module, *others: Tensor) -> None:
    """Two training steps as a loop takes them, with the model switched to eval and back in between."""
    torch.manual_seed(1)
    shape = (8, 20) if name == "hypersl" else (2, 3, 16, 16)
    learning = [p for p in [*encoder.parameters(), *others] if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=0.01, weight_decay=0.1)
    model = nn.Sequential(encoder)
    for _ in range(2):
        model.eval()
        model.train()
        out = model(torch.rand(shape) * (others[0] if others else 1))
        loss = sum(one.square().mean() for one in (out if isinstance(out, list) else [out]))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def changed(before: dict[str, Tensor], encoder: nn.Module) -> set[str]:
    after = encoder.state_dict()
    assert after.keys() == before.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


@pytest.mark.parametrize("name", ENCODERS)
def test_full_trains_everything(name: str) -> None:
    encoder = adapt(encoder_of(name), "full")
    assert trained_parameters(encoder) == sum(p.numel() for p in encoder.parameters())
    before = copy.deepcopy(encoder.state_dict())
    step(name, encoder)
    assert any("running_mean" in one for one in changed(before, encoder))


@pytest.mark.parametrize("name", ENCODERS)
def test_frozen_stays_identical_to_the_bit_while_gradients_pass_through(name: str) -> None:
    encoder = adapt(encoder_of(name), "frozen")
    before = copy.deepcopy(encoder.state_dict())
    stem = nn.Parameter(torch.ones(()))
    step(name, encoder, stem)
    assert changed(before, encoder) == set()
    assert trained_parameters(encoder) == 0
    assert stem.item() != 1.0


@pytest.mark.parametrize("name", ENCODERS)
def test_lora_trains_only_its_own_and_starts_as_the_encoder(name: str) -> None:
    plain = encoder_of(name).eval()
    encoder = adapt(encoder_of(name), "lora", rank=2)
    x = torch.rand((3, 20) if name == "hypersl" else (1, 3, 16, 16))
    for ours, theirs in zip(encoder.eval()(x), plain(x), strict=True):
        torch.testing.assert_close(ours, theirs)
    own = {key for key in encoder.state_dict() if "lora_" in key}
    assert trained_parameters(encoder) == sum(encoder.state_dict()[key].numel() for key in own)
    assert 0 < trained_parameters(encoder) < 0.5 * sum(p.numel() for p in plain.parameters())
    before = copy.deepcopy(encoder.state_dict())
    step(name, encoder)
    assert changed(before, encoder) == own


def test_lora_leaves_grouped_convolutions_alone() -> None:
    encoder = encoder_of("timm")
    encoder.adaptable = ("conv_dw", "conv_pw")
    adapted = {name for name, _ in adapt(encoder, "lora").named_modules() if name.endswith("lora_A")}
    assert adapted
    assert all("conv_pw" in name for name in adapted)


def test_a_copy_of_a_frozen_encoder_rests_too() -> None:
    clone = copy.deepcopy(adapt(encoder_of("timm"), "frozen"))
    before = copy.deepcopy(clone.state_dict())
    assert clone.train() is clone
    clone(torch.rand(2, 3, 16, 16))
    assert changed(before, clone) == set()


def test_a_state_dict_of_an_adapted_encoder_goes_back_in() -> None:
    first = adapt(encoder_of("hypersl"), "lora", rank=2)
    step("hypersl", first)
    second = adapt(encoder_of("hypersl"), "lora", rank=2)
    second.load_state_dict(first.state_dict())
    x = torch.rand(3, 20)
    assert torch.equal(first.eval()(x), second.eval()(x))


def test_kinds_and_their_options_are_known() -> None:
    assert {"frozen", "full", "lora"} <= set(adapter_kinds())
    assert adapter_options("lora") == ["rank", "alpha", "dropout"]


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("dora2", {}, "no adapter 'dora2'[\\s\\S]*frozen, full, lora"),
        ("lora", {"r": 4}, "no option r[\\s\\S]*rank, alpha, dropout"),
        ("lora", {"rank": 0}, "rank 0"),
        ("frozen", {"rank": 4}, "no option rank"),
    ],
)
def test_bad_requests(kind: str, options: dict[str, int], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        adapt(encoder_of("hypersl"), kind, **options)


def test_lora_needs_something_to_adapt() -> None:
    encoder = encoder_of("hypersl")
    encoder.adaptable = ()
    with pytest.raises(RequestError, match="no module that LoRA can adapt"):
        adapt(encoder, "lora")
