"""A strategy and a dataset become a model: view layer → stem → encoder (adapted) → decoder."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hsray.datasets import CubeStore
from hsray.datasets.samples import Reader, sample_spectra
from hsray.datasets.views import ViewLayer, fit_view
from hsray.errors import RequestError
from hsray.models import build_decoder, build_encoder, build_stem
from hsray.models import encoder as encoder_class
from hsray.strategies.adapters import adapt, trained_parameters
from hsray.strategies.features import check_features, ensure_features, is_cacheable, kept_channels
from hsray.strategies.strategy import Encoder, Strategy
from hsray.strategies.weights import WeightsInfo, load_weights

TRIED_SIDE = 8  # pixels; every pixel may be a pass through a spectral encoder


class TransferModel(nn.Module):
    """Raw channels → logits: (B, C, H, W) → (B, K, H, W) for images, (B, C) → (B, K) for spectra.

    A part that takes spectra runs on every pixel alone; one that takes images sees the map of channels.
    """

    # The parts say of themselves what they take and give, which type checkers cannot see in a Module.
    view: Any
    stem: Any
    encoder: Any
    decoder: Any

    def __init__(self, view: nn.Module, stem: Any, encoder: Any, beside: nn.Module | None, decoder: Any) -> None:
        super().__init__()
        self.view, self.stem, self.encoder, self.beside, self.decoder = view, stem, encoder, beside, decoder
        # Features of an encoder that learns move; a batch norm without weights keeps the decoder's input in scale.
        is_spectral = encoder is not None and encoder.gives == "vector"
        self.rescale = nn.BatchNorm1d(encoder.out_channels, affine=False) if is_spectral else nn.Identity()

    def forward(self, raw: Tensor) -> Tensor:
        x = self.view(raw)
        if self.stem is not None:
            x = self.stem(x)
        if self.encoder is not None and self.encoder.gives == "pyramid":
            return self.decoder(self.encoder(x), tuple(raw.shape[-2:]))
        x = self.decoded(raw, x)
        return _on_pixels(self.decoder, x) if self.decoder.takes == "vector" else self.decoder(x)

    def decoded(self, raw: Tensor, x: Tensor) -> Tensor:
        """What a decoder of maps or vectors gets: the view's channels or the encoder's features of every pixel."""
        if self.encoder is not None:
            x = _on_pixels(lambda spectra_BL: self.rescale(self.encoder(spectra_BL)), x)
        return x if self.beside is None else torch.cat([x, self.beside(raw)], dim=1)


def _on_pixels(function, x: Tensor) -> Tensor:
    """Apply a function of spectra (N, C) → (N, D) to spectra, or to every pixel of a map."""
    if x.ndim == 2:
        return function(x)
    batch, channels, height, width = x.shape
    flat_NC = x.permute(0, 2, 3, 1).reshape(-1, channels)
    return function(flat_NC).reshape(batch, height, width, -1).permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Assembled:
    """A model, the reader of its input, what its weights are, and what preparing features cost here."""

    model: TransferModel
    reader: Reader
    weights: WeightsInfo | None
    trained: int
    total: int
    features_seconds: float


def assemble(
    strategy: Strategy, task: str, store: CubeStore, subset: list[int], cache: Path, *, load: bool = True
) -> Assembled:
    """Build the model of a strategy for a dataset. `subset` are the training images that a view is fitted on.

    Without `load`, pretrained weights need not be there, where a trained state is loaded over them anyway.

    Raises:
        RequestError: parts that do not fit each other, the task or the dataset; weights that do not fit.
    """
    if is_cacheable(strategy):
        return _on_features(strategy, task, store, subset, cache)
    return _whole(strategy, task, store, subset, load=load)


def check_assembly(strategy: Strategy, task: str, store: CubeStore) -> TransferModel:
    """Build the model and run it once, before hours are spent. Raises RequestError as `assemble`."""
    with told_of_building(strategy, store):
        built = _whole(strategy, task, store, [0])
        channels = built.model.view.mean_C.numel()
        shape = (2, channels) if task == "spectral" else (2, channels, TRIED_SIDE, TRIED_SIDE)
        with torch.inference_mode():
            built.model.eval()(torch.rand(shape))
        if strategy.features.pca is not None:  # what the decoder will get in the place of all features
            _decoder(strategy, strategy.features.pca, store)
        return built.model


def untrained(strategy: Strategy, task: str, store: CubeStore) -> TransferModel:
    """The model that a run trains, before any weights are loaded: to be measured. Raises RequestError as `assemble`.

    Where the encoder has run beforehand, that is the decoder alone on its features.
    """
    with told_of_building(strategy, store):
        if not is_cacheable(strategy):
            return _whole(strategy, task, store, [0], load=False).model
        channels = kept_channels(strategy, store) + (store.bands if strategy.beside_bands else 0)
        view = ViewLayer(np.zeros(channels), np.ones(channels), "standard")
        return TransferModel(view, None, None, None, _decoder(strategy, channels, store))


@contextlib.contextmanager
def told_of_building(strategy: Strategy, store: CubeStore) -> Iterator[None]:
    """Options of the wrong type or size end in whatever the library below says of them: here it is a RequestError."""
    try:
        yield
    except (AssertionError, TypeError, ValueError, RuntimeError) as error:
        first = str(error).partition("\n")[0]  # may be empty, as of a bare assertion
        raise RequestError(
            f"the model cannot be built or run: {type(error).__name__}: {first}",
            where=f"strategy {strategy.name}, dataset {store.name}",
            do="check the options of its stem, encoder, adapter and decoder",
        ) from None


def _whole(strategy: Strategy, task: str, store: CubeStore, subset: list[int], *, load: bool = True) -> Assembled:
    part, kind, k = strategy.encoder, strategy.view.kind, strategy.view.k
    # A pretrained encoder wants its input as in its pretraining; it says how.
    wanted = getattr(encoder_class(part.name), "normalise", "standard") if part else "standard"
    wanted = "standard" if kind in ("pca", "mean") and wanted == "max" else wanted  # no spectra any more
    view = fit_view(store, subset, kind, k=k, normalise=strategy.view.normalise or wanted)
    channels: Any = view.out_channels
    nm_L = None if view.wavelengths_nm is None else torch.as_tensor(view.wavelengths_nm, dtype=torch.float32)
    stem: Any = None
    if strategy.stem is not None:
        stem = build_stem(strategy.stem.name, channels, nm_L, **strategy.stem.options)
        channels, nm_L = stem.out_channels, None
    encoder: Any = None
    weights: WeightsInfo | None = None
    if part is not None:
        encoder = build_encoder(part.name, channels, nm_L, **part.options)
        if part.weights is not None:
            weights, encoder = _pretrained(encoder, part, strategy, load=load)
        channels = encoder.out_channels
    check_features(strategy, channels if isinstance(channels, int) else None)
    bands: ViewLayer | None = None
    if strategy.beside_bands:
        beside = fit_view(store, subset, kind, k=k)
        bands, channels = beside.layer, channels + beside.out_channels
    decoder = _decoder(strategy, channels, store, getattr(encoder, "strides", None))
    _check(strategy, task, encoder, decoder, store)
    reader = Reader(((store, None if view.channels is None else tuple(view.channels)),))
    return _assembled(TransferModel(view.layer, stem, encoder, bands, decoder), reader, subset, weights)


def adapted_part(encoder: nn.Module) -> str:
    """Name of the submodule that an adapter concerns: what is pretrained, or less where the encoder says so."""
    return getattr(encoder, "adapted_part", getattr(encoder, "pretrained_part", ""))


def _pretrained(encoder: Any, part: Encoder, strategy: Strategy, *, load: bool) -> tuple[WeightsInfo | None, Any]:
    """Load and adapt the encoder, or that submodule of it which is pretrained; what stands around it learns."""
    assert part.weights is not None
    pretrained = encoder.get_submodule(getattr(encoder, "pretrained_part", ""))
    weights = load_weights(pretrained, part.weights, part.sha256) if load else None
    name = adapted_part(encoder)
    adapted = adapt(encoder.get_submodule(name), strategy.adapter.kind, **strategy.adapter.options)
    if not name:
        return weights, adapted
    encoder.set_submodule(name, adapted)
    return weights, encoder


def _on_features(strategy: Strategy, task: str, store: CubeStore, subset: list[int], cache: Path) -> Assembled:
    """The encoder is frozen and has run: what is left is a decoder on its features."""
    features = ensure_features(store, strategy, cache)
    sources = [features, store] if strategy.beside_bands else [features]
    view = _stacked_view(sources, subset)
    decoder = _decoder(strategy, view.mean_C.numel(), store)
    _check(strategy, task, None, decoder, store)
    weights = WeightsInfo(**features.source["weights"])
    reader = Reader(tuple((source, None) for source in sources))
    model = TransferModel(view, None, None, None, decoder)
    return _assembled(model, reader, subset, weights, features.source["seconds"], features.source["parameters"])


def _decoder(
    strategy: Strategy, channels: int | tuple[int, ...], store: CubeStore, strides: tuple[int, ...] | None = None
) -> Any:
    part = strategy.decoder
    return build_decoder(part.name, channels, store.num_classes, strides=strides, **part.options)


def _assembled(
    model: TransferModel,
    reader: Reader,
    subset: list[int],
    weights: WeightsInfo | None,
    features_seconds: float = 0.0,
    parameters_of_features: int = 0,
) -> Assembled:
    _prefit(model, reader, subset)
    total = parameters_of_features + sum(p.numel() for p in model.parameters())
    return Assembled(model, reader, weights, trained_parameters(model), total, features_seconds)


def _prefit(model: TransferModel, reader: Reader, subset: list[int]) -> None:
    """Decoders whose constants come from data (MiniRocket's biases) see a fixed sample of the training spectra."""
    if not hasattr(model.decoder, "prefit"):
        return
    raw_NC = torch.from_numpy(sample_spectra(reader, subset, model.decoder.prefit_spectra))
    with torch.no_grad():
        model.decoder.prefit(model.eval().decoded(raw_NC, model.view(raw_NC)))
    model.train()


def _stacked_view(stores: list[CubeStore], subset: list[int]) -> ViewLayer:
    layers = [fit_view(store, subset, "bands").layer for store in stores]
    means = np.concatenate([layer.mean_C.numpy() for layer in layers])
    return ViewLayer(means, np.concatenate([layer.projection_CK.numpy() for layer in layers]), "standard")


def _check(strategy: Strategy, task: str, encoder: Any, decoder: Any, store: CubeStore) -> None:
    """Does the decoder take what it gets? A spectral encoder's vectors, one a pixel, make a map."""
    given = "vector" if task == "spectral" else "map"
    if encoder is not None and encoder.takes == "image":
        given = encoder.gives if task == "segmentation" else "nothing (its encoder takes images)"
    if decoder.takes != given and not (given == "map" and decoder.takes == "vector"):
        raise RequestError(
            f"the decoder '{strategy.decoder.name}' takes a {decoder.takes}, but gets a {given} in the {task} task",
            where=f"strategy {strategy.name}, dataset {store.name}",
            do="choose another decoder, or another task in the experiment file",
        )
