"""The registries, and the decoders of vectors."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hsray.errors import RequestError
from hsray.models import build_decoder, decoder, encoder, register_decoder


@pytest.mark.parametrize(
    ("find", "known"), [(encoder, "hypersl.* timm"), (decoder, "fc.* mlp.* runet.* unet, unet-pyramid")]
)
def test_an_unknown_name_lists_those_that_exist(find, known: str) -> None:
    with pytest.raises(RequestError, match=f"no (en|de)coder 'resunet'[\\s\\S]*{known}"):
        find("resunet")


def test_a_name_is_given_once() -> None:
    with pytest.raises(RequestError, match="two decoders are called 'mlp'"):

        @register_decoder("mlp")
        class Other(nn.Module):
            pass


def test_the_mlp_has_the_published_names() -> None:
    model = build_decoder("mlp", 25, 10, hidden=32, depth=2)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items() if name.endswith("weight")}
    assert shapes == {"mlp.linear0.weight": (32, 25), "mlp.linear1.weight": (32, 32), "mlp.linear2.weight": (10, 32)}


def test_fc_is_linear() -> None:
    model = build_decoder("fc", 6, 3)
    x, y = torch.rand(4, 6), torch.rand(4, 6)
    torch.testing.assert_close(model(x) + model(y), model(x + y) + model(torch.zeros(4, 6)))


def test_a_linear_head_ignores_the_scale_of_its_features() -> None:
    torch.manual_seed(0)
    head = build_decoder("hypersl-fc", 8, 3).train()
    features = torch.randn(64, 8)
    torch.testing.assert_close(head(features), head(1000 * features + 5), atol=1e-3, rtol=1e-3)
