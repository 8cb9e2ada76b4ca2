"""Every stem, encoder and decoder keeps the same promises."""

from __future__ import annotations

from functools import cache
from typing import Any

import pytest
import torch

from hsray.datasets.views import NORMALISATIONS
from hsray.errors import RequestError
from hsray.models import build_decoder, build_encoder, build_stem, encoder
from tests.contracts.promises import check_alone, check_file, check_repeats, tensors_of, train_once
from tests.contracts.small import CLASSES, KINDS, ODD, SMALL, build, inputs, registered

EVERY = [(kind, name) for kind in KINDS for name in SMALL[kind]]


@cache
def known(kind: str, name: str) -> Any:
    """One for all tests that leave it as it is."""
    return build(kind, name).eval()


@pytest.mark.parametrize("kind", KINDS)
def test_every_model_has_its_small_options_in_the_table(kind: str) -> None:
    assert set(SMALL[kind]) == set(registered(kind)), "give it an entry in tests/contracts/small.py, or remove it there"


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_shapes_of_odd_sizes_and_of_one_image_are_as_promised(kind: str, name: str) -> None:
    model = known(kind, name)
    for count in (1, 2):
        outputs = tensors_of(model(*inputs(kind, name, count)))
        assert all(torch.isfinite(output).all() for output in outputs)
        if kind == "decoder":
            size = () if model.takes == "vector" else ODD
            assert [output.shape for output in outputs] == [(count, CLASSES, *size)]
        elif kind == "stem":
            assert [output.shape for output in outputs] == [(count, model.out_channels, *ODD)]
        elif model.gives == "vector":
            assert [output.shape for output in outputs] == [(count, model.out_channels)]
        else:
            check_pyramid(model, outputs, count)


def check_pyramid(model: Any, maps: list[torch.Tensor], count: int) -> None:
    assert len(maps) == len(model.out_channels) == len(model.strides) and model.strides[0] == 1
    height, width = maps[0].shape[2:]
    assert height >= ODD[0] and width >= ODD[1], "the first map is the image, padded"
    for one, channels, stride in zip(maps, model.out_channels, model.strides, strict=True):
        assert one.shape[:2] == (count, channels)
        # A published network may cut the border that is less than its stride.
        for side, whole in zip(one.shape[2:], (height, width), strict=True):
            assert side in (whole // stride, -(-whole // stride))


@pytest.mark.parametrize("name", SMALL["encoder"])
def test_an_encoder_says_what_it_takes_and_gives(name: str) -> None:
    cls: Any = encoder(name)
    assert (cls.takes, cls.gives) in (("spectrum", "vector"), ("image", "pyramid"))
    assert cls.normalise in NORMALISATIONS
    for part in ("pretrained_part", "adapted_part"):
        assert next(known("encoder", name).get_submodule(getattr(cls, part, "")).parameters(), None) is not None


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_equal_seeds_give_equal_models_and_a_saved_one_gives_the_same(kind: str, name: str) -> None:
    def run(model: Any) -> Any:
        return model(*inputs(kind, name))

    check_repeats(known(kind, name), build(kind, name), run)
    check_file(known(kind, name), build(kind, name, seed=4), run)


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_what_is_beside_an_image_in_a_batch_does_not_matter(kind: str, name: str) -> None:
    check_alone(known(kind, name), lambda model, count: model(*first_of(inputs(kind, name), count)))


def first_of(given: Any, count: int) -> tuple[Any, ...]:
    x = given[0]
    return ([one[:count] for one in x] if isinstance(x, list) else x[:count], *given[1:])


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_gradients_reach_everything_that_learns(kind: str, name: str) -> None:
    """A parameter that is never used would stop distributed training, and be counted for nothing."""
    model = build(kind, name)
    learning = {parameter for parameter, value in model.named_parameters() if value.requires_grad}
    assert learning - train_once(model, lambda it: it(*inputs(kind, name))) == set()


@pytest.mark.parametrize(("kind", "name"), EVERY)
def test_wrong_inputs_and_options_are_refused_in_a_sentence(kind: str, name: str) -> None:
    small: Any = SMALL[kind][name]
    for channels, nm_L in small.refused:
        with pytest.raises(RequestError):
            if kind == "stem":
                build_stem(name, channels, nm_L, **small.options)
            elif kind == "encoder":
                build_encoder(name, channels, nm_L, **small.options)
            else:
                build_decoder(name, channels, CLASSES, strides=small.strides, **small.options)
    with pytest.raises(RequestError, match="has no option colour"):
        if kind == "decoder":
            build_decoder(name, small.channels, CLASSES, colour=1)
        else:
            (build_stem if kind == "stem" else build_encoder)(name, small.channels, small.nm_L, colour=1)
