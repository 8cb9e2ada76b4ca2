"""The memory that training takes, counted before it is taken.

The model of a run is built without weights and moved to PyTorch's `meta` device, where a pass costs neither memory nor
time. What autograd keeps of that pass for the backward one is what the activations take, in float32.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from hsray.datasets import CubeStore
from hsray.strategies.assembly import TransferModel, told_of_building, untrained
from hsray.strategies.features import is_cacheable
from hsray.sweep.cells import Cell
from hsray.sweep.checks import ends
from hsray.training import RunConfig

MEASURED_BATCH = 2  # batch norm wants two; what a batch keeps grows by the sample
SPECTRA_SIDE = 32  # an encoder of spectra sees every pixel alone, and many of them take long even without values
SUMMARY = "weights, gradients, AdamW's moments, activations (float32)"
METHOD = "counted by building each model and passing a batch through it without values; activations in float32"


@dataclass(frozen=True)
class TrialMemory:
    """Bytes that one worker of a run needs at least, on the device that trains. The optimiser is AdamW: two moments."""

    parameters: int
    gradients: int
    optimiser: int
    activations: int

    @property
    def total(self) -> int:
        return self.parameters + self.gradients + self.optimiser + self.activations

    @property
    def checkpoint(self) -> int:
        """Bytes of a run's checkpoint: the model, the best model so far and the optimiser."""
        return 2 * self.parameters + self.optimiser


class Memories:
    """Measures every model that `cells` tries (give it as `tried`). Without `activations`, only what stays on disk."""

    def __init__(self, *, activations: bool) -> None:
        self._activations = activations
        self._known: dict[str, tuple[int, int, float]] = {}  # bytes of all, of what learns, of a sample's activations

    def __call__(self, cell: Cell, config: RunConfig, model: TransferModel) -> None:
        self._known[self._key(config)] = self._measured(config, cell.store, model)

    def of(self, cell: Cell) -> TrialMemory:
        """The most that a run of the cell takes: large where a number is searched, and every other choice tried."""
        sampled = ({**_largest(cell), **one} for one in ends(cell))
        return max((self._one(cell, cell.config(one, seed=0)) for one in sampled), key=lambda memory: memory.total)

    def _one(self, cell: Cell, config: RunConfig) -> TrialMemory:
        key = self._key(config)
        if key not in self._known:  # a recipe is tried once, and may be trained at several crops
            self._known[key] = self._measured(config, cell.store, untrained(config.strategy, config.task, cell.store))
        parameters, learning, sample = self._known[key]
        share = -(-config.training.batch // int(cell.resources.workers))  # type: ignore[arg-type]
        return TrialMemory(parameters, learning, 2 * learning, round(sample * share))

    def _key(self, config: RunConfig) -> str:
        crop = config.training.crop if self._activations else None
        return f"{config.dataset} {config.strategy.model_dump_json()} {crop}"

    def _measured(self, config: RunConfig, store: CubeStore, model: TransferModel) -> tuple[int, int, float]:
        if is_cacheable(config.strategy):  # then a run trains what stands behind the features
            model = untrained(config.strategy, config.task, store)
        parameters = sum(map(_bytes, [*model.parameters(), *model.buffers()]))
        learning = sum(_bytes(parameter) for parameter in model.parameters() if parameter.requires_grad)
        return parameters, learning, _of_a_sample(config, store, model) if self._activations else 0.0


def _largest(cell: Cell) -> dict[str, Any]:
    """Each dimension that always applies at its upper end; of what are not numbers the first."""
    found = {}
    for name, dimension in cell.space.items():
        values = list(dimension.choice or dimension.log or dimension.uniform or dimension.whole or ())
        numbers = [one for one in values if isinstance(one, int | float) and not isinstance(one, bool)]
        if not dimension.when:
            found[name] = max(numbers) if len(numbers) == len(values) else values[0]
    return found


def _of_a_sample(config: RunConfig, store: CubeStore, model: TransferModel) -> float:
    """Bytes of activations; the model is of no use afterwards."""
    spectral_encoder = model.encoder is not None and model.encoder.gives == "vector"
    shape, larger = _shape(config, store, model.view.mean_C.numel(), small=spectral_encoder)
    with told_of_building(config.strategy, store):
        try:
            kept = _kept_for_backward(model.to("meta"), torch.empty(shape, device="meta"), store.num_classes)
        except (NotImplementedError, RuntimeError):  # a part that looks at values needs some
            again = untrained(config.strategy, config.task, store)
            shape, larger = _shape(config, store, again.view.mean_C.numel(), small=True)
            kept = _kept_for_backward(again, torch.rand(shape), store.num_classes)
    return kept * larger / MEASURED_BATCH


def _shape(config: RunConfig, store: CubeStore, channels: int, *, small: bool) -> tuple[tuple[int, ...], float]:
    """What is passed through the model, and by how much the run's samples are larger."""
    if config.task == "spectral":
        return (MEASURED_BATCH, channels), 1.0
    limit = config.training.crop
    height, width = (int(side) for side in store.statistics("train").shapes_N2.max(axis=0))
    height, width = min(height, limit or height), min(width, limit or width)
    tall, wide = (min(height, SPECTRA_SIDE), min(width, SPECTRA_SIDE)) if small else (height, width)
    return (MEASURED_BATCH, channels, tall, wide), height * width / (tall * wide)


def _kept_for_backward(model: TransferModel, x: Tensor, classes: int) -> int:
    """Bytes that autograd keeps of a training step, each storage once; the model's own are not counted."""
    own = {tensor.untyped_storage()._cdata for tensor in (*model.parameters(), *model.buffers())}
    kept: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage._cdata not in own:
            kept[storage._cdata] = storage.nbytes()
        return tensor

    note(x)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        logits = model.train()(x)
        labels = torch.zeros((len(x), *logits.shape[2:]), dtype=torch.int64, device=x.device)
        loss = nn.functional.cross_entropy(logits.float(), labels, reduction="sum")
    assert loss.requires_grad  # holds what was kept until here, so that no storage is counted twice
    return sum(kept.values())


def _bytes(tensor: Tensor) -> int:
    return tensor.numel() * tensor.element_size()
