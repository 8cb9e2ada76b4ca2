"""HyperSL: the official tensors, its unusual last block and disaggregation, and what it makes of wavelengths."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hsray.errors import RequestError
from hsray.models import build_encoder, hypersl
from hsray.models.hypersl import HyperSL


def block(at: str, width: int) -> dict[str, tuple[int, ...]]:
    linears = {"attn.qkv": (3 * width, width), "attn.proj": (width, width)}
    linears |= {"mlp.fc1": (4 * width, width), "mlp.fc2": (width, 4 * width)}
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (after, before) in linears.items():
        shapes |= {f"{at}.{name}.weight": (after, before), f"{at}.{name}.bias": (after,)}
    for norm in ("norm1", "norm2"):
        shapes |= {f"{at}.{norm}.weight": (width,), f"{at}.{norm}.bias": (width,)}
    return shapes


def official(width: int, depth: int, decoder_depth: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes from the description of the official checkpoints."""
    D = width
    shapes: dict[str, tuple[int, ...]] = {"global_token": (1, 1, D), "mask_token": (1, 1, D)}
    shapes |= {"pe": (1, 500, D), "div_term": (D // 2,)}
    for number, (before, kernel) in enumerate([(1, 5), (1, 9), (1, 13), (3 * D, 1)], 1):
        layer = f"embedding_layer_{number}"
        shapes |= {f"{layer}.0.weight": (D, before, kernel), f"{layer}.0.bias": (D,)}
        shapes |= {f"{layer}.1.{one}": (D,) for one in ("weight", "bias", "running_mean", "running_var")}
        shapes[f"{layer}.1.num_batches_tracked"] = ()
    for number in range(depth - 1):
        shapes |= block(f"encoder_blocks.{number}", D)
    shapes |= block("transformer_encoder_layer", D)
    for name in ("corss_attn.qkv", "corss_attn.proj"):
        shapes |= {f"{name}.weight": (D, D), f"{name}.bias": (D,)}
    for number in range(decoder_depth - 1):
        shapes |= block(f"decoder_blocks.{number}", D)
    for norm in ("norm1", "norm2"):
        shapes |= {f"{norm}.weight": (D,), f"{norm}.bias": (D,)}
    return shapes | {"decoder_layer.0.weight": (1, D, 3), "decoder_layer.0.bias": (1,)}


def small(bands: int = 21, **options: int) -> HyperSL:
    torch.manual_seed(0)
    shape = {"width": 16, "depth": 2, "heads": 2, **options}
    model = HyperSL(bands, torch.linspace(450, 950, bands), **shape)
    for module in model.modules():  # statistics that are not the trivial ones
        if isinstance(module, nn.BatchNorm1d):
            module.running_mean.uniform_(-1, 1)
            module.running_var.uniform_(0.5, 2)
    return model.eval()


def test_small_has_the_official_tensors_and_9_16_million_parameters() -> None:
    model = HyperSL(15, torch.linspace(468, 643, 15), decoder_depth=4)
    state = model.state_dict()
    assert {name: tuple(tensor.shape) for name, tensor in state.items()} == official(256, 8, 4)
    counted = sum(tensor.numel() for name, tensor in state.items() if "running" not in name and "num_b" not in name)
    assert round(counted / 1e6, 2) == 9.16


def test_without_a_decoder_only_what_a_feature_needs_is_built() -> None:
    model = HyperSL(15, torch.linspace(468, 643, 15))
    wanted = official(256, 8, 0).keys()
    assert model.state_dict().keys() == {name for name in wanted if not name.startswith(HyperSL.spare_tensors)}
    model.train()(torch.rand(2, 15)).sum().backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def reference_feature(model: HyperSL, spectra_BL: Tensor, wavelengths_L: Tensor) -> Tensor:
    """The published order of operations, written out plainly with explicit softmax attention."""
    state, D, heads = model.state_dict(), model.width, 2

    def embed(number: int, x: Tensor, pad: int) -> Tensor:
        at = f"embedding_layer_{number}"
        x = functional.conv1d(x, state[f"{at}.0.weight"], state[f"{at}.0.bias"], padding=pad)
        mean, var = state[f"{at}.1.running_mean"], state[f"{at}.1.running_var"]
        x = functional.batch_norm(x, mean, var, state[f"{at}.1.weight"], state[f"{at}.1.bias"])
        return functional.gelu(x)

    def linear(name: str, x: Tensor) -> Tensor:
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    def norm(name: str, x: Tensor) -> Tensor:
        return functional.layer_norm(x, (D,), state[f"{name}.weight"], state[f"{name}.bias"])

    def attention(name: str, x: Tensor) -> Tensor:
        mixed = []
        for q, k, v in zip(
            *(part.split(D // heads, -1) for part in linear(f"{name}.qkv", x).split(D, -1)), strict=True
        ):
            mixed.append((q @ k.transpose(1, 2) / math.sqrt(D // heads)).softmax(-1) @ v)
        return linear(f"{name}.proj", torch.cat(mixed, -1))

    def mlp(name: str, x: Tensor) -> Tensor:
        return linear(f"{name}.fc2", functional.gelu(linear(f"{name}.fc1", x)))

    x = spectra_BL[:, None]
    x = torch.cat([embed(number, x, pad) for number, pad in ((1, 2), (2, 4), (3, 6))], dim=1)
    x = embed(4, x, 0).transpose(1, 2)
    position = torch.zeros(len(wavelengths_L), D)
    for i in range(D // 2):
        angle = (wavelengths_L - 400) / 10 * math.exp(-2 * i * math.log(100) / D)
        position[:, 2 * i], position[:, 2 * i + 1] = angle.sin(), angle.cos()
    x = torch.cat([state["global_token"].expand(len(x), -1, -1), x + position], dim=1)
    at = "encoder_blocks.0"
    x = x + attention(f"{at}.attn", norm(f"{at}.norm1", x))
    x = x + mlp(f"{at}.mlp", norm(f"{at}.norm2", x))
    at = "transformer_encoder_layer"
    x = 2 * attention(f"{at}.attn", norm(f"{at}.norm1", x))
    x = x + mlp(f"{at}.mlp", norm(f"{at}.norm2", x))
    return x[:, 0] + x[:, 1:].mean(dim=1)


def test_the_feature_equals_the_published_computation() -> None:
    model, spectra_BL = small(), torch.rand(5, 21)
    expected = reference_feature(model, spectra_BL, torch.linspace(450, 950, 21))
    torch.testing.assert_close(model(spectra_BL), expected, atol=1e-5, rtol=1e-5)


def layer_by_layer(model: HyperSL) -> HyperSL:
    """The path of training, with batch norms as in evaluation."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d):
            module.eval()
    return model


@pytest.mark.parametrize("bands", [3, 15, 128])
def test_one_pass_gives_what_the_layers_give_and_follows_the_weights(bands: int) -> None:
    model, spectra_BL = small(bands), torch.rand(5, bands)
    names = model.state_dict().keys()
    for _ in range(2):
        once = model.eval()(spectra_BL)
        torch.testing.assert_close(once, layer_by_layer(model)(spectra_BL), rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            model.embedding_layer_2[0].weight.mul_(3)
            model.embedding_layer_4[1].running_var.mul_(2)
    assert model.state_dict().keys() == names
    again = model.eval()(spectra_BL)
    assert not torch.allclose(once, again, rtol=1e-2)


def test_in_evaluation_gradients_reach_every_weight_but_those_of_statistics() -> None:
    model = small()
    model(torch.rand(3, 21)).sum().backward()
    assert all(parameter.grad is not None and parameter.grad.abs().sum() > 0 for parameter in model.parameters())


def test_batches_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model, spectra_BL = small(), torch.rand(11, 21)
    whole = model(spectra_BL)
    monkeypatch.setattr(hypersl, "CACHED_VALUES", 4 * 22 * 16 // torch.get_num_threads())
    with torch.no_grad():
        assert model.batch_size(torch.device("cpu")) == 4  # 4, 4 and 3 spectra
        torch.testing.assert_close(model(spectra_BL), whole, rtol=1e-5, atol=1e-5)
        assert model(spectra_BL[:0]).shape == (0, 16)


def test_features_in_bfloat16_are_near_those_in_float32() -> None:
    model, spectra_BL = HyperSL(25, torch.linspace(535, 975, 25)).eval(), torch.rand(6, 25)
    with torch.no_grad():
        exact = model(spectra_BL)
        with torch.autocast("cpu", torch.bfloat16):
            half = model(spectra_BL)
    assert half.dtype == torch.float32
    assert float(((half - exact).norm(dim=1) / exact.norm(dim=1)).max()) < 1e-2


@pytest.mark.parametrize(
    ("size", "width", "depth", "decoder_depth", "heads"),
    [("small", 256, 8, 4, 8), ("base", 512, 24, 12, 16), ("large", 1024, 32, 16, 32), ("huge", 2048, 48, 24, 32)],
)
def test_official_sizes(size: str, width: int, depth: int, decoder_depth: int, heads: int) -> None:
    with torch.device("meta"):  # huge has 2.4 billion weights
        model = HyperSL(15, torch.linspace(468, 643, 15), size=size, decoder_depth=hypersl.SIZES[size].decoder_depth)
    shapes = {name: tuple(tensor.shape) for name, tensor in model.state_dict().items()}
    assert shapes == official(width, depth, decoder_depth)
    assert model.transformer_encoder_layer.attn.num_heads == model.corss_attn.heads == heads


def test_a_form_of_its_own_goes_before_the_size() -> None:
    model = HyperSL(15, torch.linspace(468, 643, 15), size="base", width=32, depth=2)
    assert (model.out_channels, len(model.encoder_blocks), model.transformer_encoder_layer.attn.num_heads) == (
        32,
        1,
        16,
    )


def test_a_reconstruction_hangs_on_kept_tokens_and_all_wavelengths() -> None:
    model, spectra_BL = small(decoder_depth=2), torch.rand(3, 21)
    wavelengths_BL = torch.linspace(450, 950, 21).expand(3, -1)
    keep_BM = torch.tensor([[0, 1, 2]] * 3)
    first, feature = model.reconstruct(spectra_BL, wavelengths_BL, keep_BM)
    assert first.shape == (3, 21)
    assert feature.shape == (3, 16)
    assert bool(((first > 0) & (first < 1)).all())
    far = spectra_BL.clone()
    far[:, 12:] = 0.0  # out of reach of the kept tokens' widest convolution (6 bands on each side)
    torch.testing.assert_close(model.reconstruct(far, wavelengths_BL, keep_BM)[0], first)
    near = spectra_BL.clone()
    near[:, 5] += 1.0
    assert not torch.allclose(model.reconstruct(near, wavelengths_BL, keep_BM)[0], first, atol=1e-6)
    moved = wavelengths_BL.clone()
    moved[:, 20] += 100  # a masked band is predicted for where it lies
    assert not torch.allclose(model.reconstruct(spectra_BL, moved, keep_BM)[0], first, atol=1e-6)


def test_kept_bands_come_in_any_order() -> None:
    model, spectra_BL = small(decoder_depth=2), torch.rand(2, 21)
    wavelengths_BL = torch.linspace(450, 950, 21).expand(2, -1)
    keep = torch.tensor([[3, 9, 17, 1], [4, 2, 20, 11]])
    first = model.reconstruct(spectra_BL, wavelengths_BL, keep)
    second = model.reconstruct(spectra_BL, wavelengths_BL, keep.flip(1))
    torch.testing.assert_close(first, second, atol=1e-6, rtol=1e-5)


def test_every_weight_learns_in_pretraining() -> None:
    model = small(decoder_depth=2).train()
    wavelengths_BL = torch.linspace(450, 950, 21).expand(4, -1)
    keep = torch.rand(4, 21).argsort(dim=1)[:, :5]
    model.reconstruct(torch.rand(4, 21), wavelengths_BL, keep)[0].square().mean().backward()
    still = {n for n, p in model.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    # Batch norm takes the mean away, so biases in front of it have a gradient of rounding size or none at all.
    assert still <= {f"embedding_layer_{number}.0.bias" for number in range(1, 5)}


@pytest.mark.parametrize(
    ("channels", "wavelengths", "options", "message"),
    [
        (15, None, {}, "needs the wavelength"),
        (15, torch.linspace(400, 900, 14), {}, "15 input channels and 14 wavelengths"),
        (15, torch.linspace(400, 900, 15), {"width": 30, "heads": 4}, "cannot be built"),
        (15, torch.linspace(400, 900, 15), {"patch": 4}, "no option patch"),
        (15, torch.linspace(400, 900, 15), {"size": "giant"}, "no HyperSL of size 'giant'"),
        (15, torch.linspace(400, 900, 15), {"depth": 0}, "depth 0"),
    ],
)
def test_bad_requests(channels: int, wavelengths: Tensor | None, options: dict[str, Any], message: str) -> None:
    with pytest.raises(RequestError, match=message):
        build_encoder("hypersl", channels, wavelengths, **options)
