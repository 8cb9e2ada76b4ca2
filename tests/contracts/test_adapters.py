"""Every adapter on every encoder: only what it says learns, and a saved one gives the same."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch

from hsray.errors import RequestError
from hsray.strategies.adapters import adapt, adapter_kinds, trained_parameters
from tests.contracts.promises import check_file, check_repeats, train_once, unchanged
from tests.contracts.small import SMALL, build, inputs

SMALL_ADAPTERS: dict[str, dict[str, Any]] = {
    "full": {},
    "frozen": {},
    "bitfit": {},
    "norm": {},
    "lora": {"rank": 2},
    "dora": {"rank": 2},
    "ia3": {},
    "bottleneck": {"width": 3},
}
HEAVY = {  # no size of them is small
    "spectralearth-resnet": ("lora",),
    "spectralearth-vit": ("lora", "bottleneck"),
    "deeplabv3plus-hs3": ("frozen", "norm", "lora"),
    "spectral-pca": ("full", "frozen", "bitfit", "lora", "dora", "ia3"),  # it is one linear layer
}
PAIRS = [(kind, name) for name in SMALL["encoder"] for kind in HEAVY.get(name, SMALL_ADAPTERS)]


def test_every_adapter_has_its_small_options_in_the_table() -> None:
    assert set(SMALL_ADAPTERS) == set(adapter_kinds()), "give it an entry in tests/contracts/test_adapters.py"


def part_of(encoder: Any) -> str:
    return getattr(encoder, "adapted_part", getattr(encoder, "pretrained_part", ""))


def adapted(name: str, kind: str, seed: int = 3) -> Any:
    encoder = build("encoder", name, seed)
    part = adapt(encoder.get_submodule(part_of(encoder)), kind, **SMALL_ADAPTERS[kind])
    if not part_of(encoder):
        return part
    encoder.set_submodule(part_of(encoder), part)
    return encoder


@pytest.mark.parametrize(("kind", "name"), PAIRS)
def test_only_what_the_adapter_says_learns(kind: str, name: str) -> None:
    plain, encoder = build("encoder", name), adapted(name, kind)
    x = inputs("encoder", name)
    with torch.no_grad():
        first, same = (model.eval()(*x) for model in (encoder, plain))
    for one, other in zip(*(out if isinstance(out, list) else [out] for out in (first, same)), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)
    inner = encoder.get_submodule(part_of(encoder))
    assert (trained_parameters(inner) == 0) == (kind == "frozen")
    x = tuple(one.requires_grad_() for one in x)
    before = copy.deepcopy(inner.state_dict())
    learning = {parameter for parameter, value in encoder.named_parameters() if value.requires_grad}
    assert learning - train_once(encoder, lambda model: model(*x)) == set()
    if kind != "full":
        assert unchanged(before, inner, {name for name, value in inner.named_parameters() if value.requires_grad}) == []


@pytest.mark.parametrize("name", ["hypersl", "vit", "timm"])
@pytest.mark.parametrize("kind", SMALL_ADAPTERS)
def test_adapted_encoders_repeat_themselves_and_go_through_a_file(kind: str, name: str) -> None:
    def run(model: Any) -> Any:
        return model(*inputs("encoder", name))

    first = adapted(name, kind)
    check_repeats(first, adapted(name, kind), run)
    check_file(first, adapted(name, kind, seed=4), run)


@pytest.mark.parametrize("kind", SMALL_ADAPTERS)
def test_an_unknown_option_is_refused(kind: str) -> None:
    with pytest.raises(RequestError, match="has no option colour"):
        adapt(build("encoder", "hypersl"), kind, colour=1)
