"""Adapters: what learns does, and what does not stays as it was to the bit, on every sort of encoder."""

from __future__ import annotations

import copy

import pytest
import timm
import torch
from torch import Tensor, nn

from hsray.errors import RequestError
from hsray.models import build_encoder
from hsray.models.unet import RUNet, UNet
from hsray.strategies.adapters import adapt, adapter_kinds, adapter_options, trained_parameters
from hsray.strategies.targets import layers

VIT = {"img_size": 16, "patch_size": 8, "embed_dim": 32, "depth": 2, "num_heads": 2, "num_classes": 0}
KINDS = ("full", "frozen", "bitfit", "norm", "lora", "dora", "ia3", "bottleneck")
ENCODERS = ("hypersl", "vit", "dinov3", "convnext", "resnet", "efficientnet", "unet", "runet")
# What an adapter may change, by the ends of names; written down a second time, so that both must agree.
OWN = {
    "frozen": (),
    "bitfit": ("bias",),
    "lora": ("lora_A.default.weight", "lora_B.default.weight"),
    "dora": ("lora_A.default.weight", "lora_B.default.weight", "lora_magnitude_vector.default.weight"),
    "ia3": ("ia3_l.default",),
    "bottleneck": ("down.weight", "down.bias", "up.weight", "up.bias"),
}


def encoder_of(name: str) -> nn.Module:
    torch.manual_seed(0)
    if name == "hypersl":
        return build_encoder(name, 20, torch.linspace(450, 950, 20), width=16, depth=2, heads=2)
    if name == "efficientnet":
        return build_encoder("timm", 3, model="tf_efficientnet_lite0", depth=2)
    if name in ("unet", "runet"):
        return {"unet": UNet, "runet": RUNet}[name](3, 5, width=4)
    model, options = {
        "vit": ("vit_tiny_patch16_224", VIT),
        "dinov3": ("vit_small_patch16_dinov3_qkvb", VIT),  # biases of queries and values stand beside `qkv`
        "convnext": ("convnext_atto", {"depths": (1, 1, 1, 1), "dims": (8, 16, 16, 16), "num_classes": 0}),
        "resnet": ("resnet10t", {"num_classes": 0, "output_stride": 16, "zero_init_last": False}),
    }[name]
    return timm.create_model(model, pretrained=False, **options)


def input_of(name: str) -> Tensor:
    torch.manual_seed(2)
    side = 32 if name == "convnext" else 16
    return torch.rand((8, 20) if name == "hypersl" else (2, 3, side, side))


def outputs(encoder: nn.Module, x: Tensor) -> list[Tensor]:
    out = encoder(x)
    return out if isinstance(out, list) else [out]


def train(name: str, encoder: nn.Module, *others: Tensor) -> None:
    """Three steps as a loop takes them, with the model switched to eval and back in between."""
    learning = [p for p in [*encoder.parameters(), *others] if p.requires_grad]
    optimiser = torch.optim.AdamW(learning, lr=0.01, weight_decay=0.1)
    model = nn.Sequential(encoder)
    for _ in range(3):
        model.eval()
        model.train()
        out = outputs(model, input_of(name) * (others[0] if others else 1))
        loss = sum((one * torch.randn_like(one)).mean() for one in out)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()


def changed(before: dict[str, Tensor], encoder: nn.Module) -> set[str]:
    after = encoder.state_dict()
    assert after.keys() == before.keys()
    return {name for name in before if not torch.equal(before[name], after[name])}


def own(encoder: nn.Module, kind: str) -> set[str]:
    names = [name for name, _ in encoder.named_parameters()]
    if kind == "norm":
        norms = {n for n, m in encoder.named_modules() if isinstance(m, nn.LayerNorm | nn.modules.batchnorm._BatchNorm)}
        return {name for name in names if name.rpartition(".")[0] in norms}
    return {name for name in names if name.endswith(OWN[kind])} if OWN[kind] else set()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "full"])
@pytest.mark.parametrize("name", ENCODERS)
def test_an_adapter_starts_as_the_encoder_and_all_but_its_own_stays_to_the_bit(name: str, kind: str) -> None:
    plain = encoder_of(name).eval()
    if (name, kind) == ("unet", "norm"):
        with pytest.raises(RequestError, match="no norms"):
            adapt(plain, kind)
        return
    encoder = adapt(encoder_of(name), kind)
    for ours, theirs in zip(outputs(encoder.eval(), input_of(name)), outputs(plain, input_of(name)), strict=True):
        torch.testing.assert_close(ours, theirs)
    mine = own(encoder, kind)
    assert trained_parameters(encoder) == sum(encoder.get_parameter(one).numel() for one in mine)
    before = copy.deepcopy(encoder.state_dict())
    entrance = nn.Parameter(torch.ones(()))
    train(name, encoder, entrance)
    assert changed(before, encoder) == mine
    assert entrance.item() != 1.0, "gradients pass through to what stands in front"


@pytest.mark.parametrize("name", ["hypersl", "vit", "runet"])
def test_full_trains_everything(name: str) -> None:
    encoder = adapt(encoder_of(name), "full")
    before = copy.deepcopy(encoder.state_dict())
    train(name, encoder)
    assert changed(before, encoder) >= {parameter for parameter, _ in encoder.named_parameters()}
    assert any("running_mean" in one for one in changed(before, encoder)) is (name != "vit")


def test_what_an_encoder_itself_fixes_stays_fixed() -> None:
    encoder = encoder_of("vit")
    encoder.pos_embed.requires_grad_(False)
    assert not adapt(encoder, "full").pos_embed.requires_grad
    encoder.blocks[0].attn.qkv.bias.requires_grad_(False)
    assert not adapt(encoder, "bitfit").blocks[0].attn.qkv.bias.requires_grad


@pytest.mark.parametrize(
    ("kind", "options", "in_a_block", "outside"),  # D is 32, two blocks; outside them the patch embedding, 3·8·8 → D
    [
        ("lora", {"rank": 3}, 3 * 16 * 32, 3 * (192 + 32)),
        ("lora", {"rank": 3, "targets": "attention"}, 3 * 6 * 32, 0),
        ("lora", {"rank": 3, "targets": "mlp"}, 3 * 10 * 32, 0),
        ("dora", {"rank": 3, "targets": "attention"}, 3 * 6 * 32 + 4 * 32, 0),
        ("ia3", {}, 8 * 32, 32),
        ("ia3", {"targets": "attention"}, 4 * 32, 0),
        ("ia3", {"targets": "mlp"}, 4 * 32, 0),
        ("bottleneck", {"width": 5}, 2 * 5 * 32 + 5 + 32, 0),
        ("norm", {}, 4 * 32, 2 * 32),
        ("bitfit", {}, (2 + 3 + 1 + 4 + 1) * 32, 2 * 32),
    ],
)
def test_the_number_of_trained_parameters_is_what_the_papers_count(
    kind: str, options: dict, in_a_block: int, outside: int
) -> None:
    encoder = adapt(encoder_of("vit"), kind, **options)
    assert trained_parameters(encoder) == 2 * in_a_block + outside


def test_layers_that_an_adapter_could_not_change_are_left_alone() -> None:
    class Odd(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.grouped, self.dilated = nn.Conv2d(4, 4, 3, groups=2), nn.Conv2d(4, 4, 3, dilation=2)
            self.plain, self.attention = nn.Conv2d(4, 4, 3), nn.MultiheadAttention(4, 1)
            self.layer = nn.TransformerEncoderLayer(4, 1)

    assert list(layers(Odd())) == ["plain"]


def test_names_are_matched_whole() -> None:
    """`mlp.0` is no target because `inner.mlp.0` is."""
    encoder = nn.Sequential()
    encoder.add_module("fc", nn.Linear(4, 4))
    encoder.add_module("mlp", nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 4)))
    encoder.add_module("tail", nn.ModuleDict({"fc": nn.Linear(4, 4)}))
    adapted = adapt(encoder, "lora", targets="mlp")
    assert {name.split(".lora_")[0] for name, _ in adapted.named_parameters() if "lora_" in name} == {"mlp.0", "mlp.2"}


def test_dropout_of_an_adapter_drops_in_training_alone() -> None:
    for kind, width in (("lora", "rank"), ("dora", "rank"), ("bottleneck", "width")):
        encoder = adapt(encoder_of("vit"), kind, dropout=0.5, **{width: 4})
        train("vit", encoder)
        x = input_of("vit")
        assert not torch.equal(encoder.train()(x), encoder(x))
        assert torch.equal(encoder.eval()(x), encoder(x))


@pytest.mark.parametrize("kind", ["frozen", "bitfit", "lora"])
def test_a_copy_rests_too(kind: str) -> None:
    clone = copy.deepcopy(adapt(encoder_of("efficientnet"), kind))
    before = copy.deepcopy(clone.state_dict())
    assert clone.train() is clone
    clone(input_of("efficientnet"))
    assert changed(before, clone) == set()


@pytest.mark.parametrize("kind", KINDS)
def test_a_state_dict_of_an_adapted_encoder_goes_back_in(kind: str) -> None:
    first, second = (adapt(encoder_of("hypersl"), kind) for _ in range(2))
    if kind != "frozen":
        train("hypersl", first)
    second.load_state_dict(first.state_dict())
    assert torch.equal(first.eval()(input_of("hypersl")), second.eval()(input_of("hypersl")))


def test_kinds_and_their_options_are_known() -> None:
    assert set(KINDS) <= set(adapter_kinds())
    assert adapter_options("dora") == adapter_options("lora") == ["rank", "alpha", "dropout", "targets"]
    assert adapter_options("bottleneck") == ["width", "scale", "dropout"]


@pytest.mark.parametrize(
    ("name", "kind", "options", "message"),
    [
        ("hypersl", "dora2", {}, "no adapter 'dora2'[\\s\\S]*frozen, full, ia3, lora"),
        ("hypersl", "lora", {"r": 4}, "no option r[\\s\\S]*rank, alpha, dropout, targets"),
        ("hypersl", "lora", {"rank": 0}, "rank 0"),
        ("hypersl", "lora", {"rank": True}, "rank True"),
        ("hypersl", "lora", {"dropout": "much"}, "dropout much"),
        ("hypersl", "dora", {"alpha": -1}, "alpha -1"),
        ("hypersl", "lora", {"targets": "head"}, "attention, mlp, all"),
        ("hypersl", "bottleneck", {"width": 0}, "width 0"),
        ("hypersl", "bottleneck", {"scale": "no"}, "scale no"),
        ("hypersl", "frozen", {"rank": 4}, "no option rank"),
        ("runet", "lora", {"targets": "attention"}, "below an attention"),
        ("runet", "ia3", {"targets": "mlp"}, "below a feed-forward part"),
    ],
)
def test_bad_requests(name: str, kind: str, options: dict, message: str) -> None:
    with pytest.raises(RequestError, match=message):
        adapt(encoder_of(name), kind, **options)


@pytest.mark.parametrize("kind", ["lora", "ia3", "bottleneck", "bitfit", "norm"])
def test_an_adapter_needs_something_to_adapt(kind: str) -> None:
    with pytest.raises(RequestError, match="the encoder has no"):
        adapt(nn.Sequential(nn.Conv1d(3, 3, 3, bias=False), nn.ReLU()), kind)
