"""Pretraining from a recipe to weights: the loop, its checkpoints, and what it leaves behind."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hsray.datasets.samples import Shard
from hsray.errors import RequestError, TrainingFailed
from hsray.models.hypersl import HyperSL
from hsray.pretraining.card import write_weights
from hsray.pretraining.objectives import Pretraining
from hsray.pretraining.recipe import EncoderShape, PCAShape, Recipe
from hsray.pretraining.runfolder import RunFolder
from hsray.pretraining.spectra import Spectra, open_spectra
from hsray.pretraining.stream import Batch, draw_batch
from hsray.pretraining.variation import variation
from hsray.strategies.weights import UNREADABLE
from hsray.training.metrics import reduce_over_workers, share_buffers

Progress = Callable[[int, int, float], None]  # steps done, steps in all, loss of the last step
Wrap = Callable[[nn.Module], nn.Module]
POINTS = 200  # of the loss curve that is logged


@dataclass(frozen=True)
class Outputs:
    """The files of one pretraining; `out` may end in `.safetensors`."""

    out: Path

    def file(self, suffix: str) -> Path:
        stem = self.out.with_suffix("") if self.out.suffix == ".safetensors" else self.out
        return stem.with_name(stem.name + suffix)

    @property
    def weights(self) -> Path:
        return self.file(".safetensors")

    @property
    def checkpoint(self) -> Path:
        return self.file(".checkpoint")


def pretrain(
    recipe: Recipe,
    data: Path,
    out: Path,
    progress: Progress | None = None,
    *,
    spectra: list[Spectra] | None = None,
    folder: RunFolder | None = None,
    shard: Shard = Shard(),
    device: torch.device | None = None,
    wrap: Wrap = lambda model: model,
) -> Path:
    """Pretrain and write `<out>.safetensors`, `.json`, `.md` and `.png`; return the path of the weights.

    `data` is the folder that the sources' files and the stores' names are relative to; `spectra` are what they hold,
    if they are open already. The loss curve goes to `folder`. An interrupted run goes on from `<out>.checkpoint` and
    ends with the same weights as an uninterrupted one on the same machine with one worker. Of several workers each
    calls this with its `shard` of every batch; the first one writes.

    Raises RequestError where the request is bad or the output exists, TrainingFailed where the loss is not finite.
    """
    files = Outputs(out)
    if files.weights.exists():
        raise RequestError("the output exists", where=str(files.weights), do="choose another output or remove it")
    spectra = spectra or open_spectra(recipe, data)
    if isinstance(recipe.encoder, PCAShape):
        return _vary(recipe, recipe.encoder, spectra, files)
    run = _Run(recipe, recipe.encoder, spectra, shard, device or _device(), wrap)
    files.weights.parent.mkdir(parents=True, exist_ok=True)
    losses, before = run.resumed(files.checkpoint)
    if folder is not None and shard.rank == 0:
        folder.forget_after(len(losses))
    began = time.monotonic() - before
    every = max(1, recipe.steps // POINTS)
    while len(losses) < recipe.steps:
        losses.append(run.step(len(losses)))
        done = len(losses)
        if shard.rank == 0 and done % recipe.checkpoint_every == 0 and done < recipe.steps:
            run.save(files.checkpoint, losses, time.monotonic() - began)
        if folder is not None and shard.rank == 0 and (done % every == 0 or done == recipe.steps):
            folder.log(done, {"loss": float(np.mean(losses[-every:])), "lr": run.lr})
        if progress:
            progress(done, recipe.steps, losses[-1])
    share_buffers(run.model)
    if shard.rank == 0:
        spare = HyperSL.spare_tensors  # what pretraining alone needs
        encoder = run.model.encoder
        write_weights(
            files.file,
            {name: tensor for name, tensor in encoder.state_dict().items() if not name.startswith(spare)},
            parameters=sum(p.numel() for name, p in encoder.named_parameters() if not name.startswith(spare)),
            recipe=recipe,
            spectra=spectra,
            losses=losses,
            seconds=time.monotonic() - began,
        )
        files.checkpoint.unlink(missing_ok=True)
    return files.weights


def _vary(recipe: Recipe, shape: PCAShape, spectra: list[Spectra], files: Outputs) -> Path:
    """The encoder that knows how spectra vary, and no more, needs no loop."""
    began = time.monotonic()
    tensors = variation(recipe, shape, spectra)
    files.weights.parent.mkdir(parents=True, exist_ok=True)
    write_weights(
        files.file,
        tensors,
        parameters=sum(tensor.numel() for tensor in tensors.values()),
        recipe=recipe,
        spectra=spectra,
        losses=[],
        seconds=time.monotonic() - began,
    )
    return files.weights


class _Run:
    """Model, optimiser and stream of one worker."""

    def __init__(
        self,
        recipe: Recipe,
        shape: EncoderShape,
        spectra: list[Spectra],
        shard: Shard,
        device: torch.device,
        wrap: Wrap,
    ) -> None:
        self.recipe, self.spectra, self.shard, self.device, self.wrap = recipe, spectra, shard, device, wrap
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(recipe.seed)
            self.model = Pretraining(shape, recipe.objective)
        self.model.to(device).train()
        self.optimiser = torch.optim.AdamW(self.model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
        self.wrapped = wrap(self.model)
        self.lr = 0.0

    def step(self, number: int) -> float:
        """One update; the loss of the whole batch."""
        recipe = self.recipe
        batch = draw_batch(recipe, self.spectra, number)
        loss = self.wrapped(_on(batch.part(self.shard.rank, self.shard.world), self.device))
        value = float(reduce_over_workers(np.array([loss.item()]))[0]) / self.shard.world
        if not math.isfinite(value):  # every worker sees the same and stops
            raise TrainingFailed(f"the loss is {value} at step {number + 1}", do="lower the recipe's learning rate")
        self.lr = recipe.lr * _schedule(number, recipe)
        for group in self.optimiser.param_groups:
            group["lr"] = self.lr
        self.optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), recipe.clip)
        self.optimiser.step()
        return value

    def save(self, path: Path, losses: list[float], seconds: float) -> None:
        """The whole state, or nothing of it."""
        state = {"recipe": self.recipe.fingerprint, "losses": losses, "seconds": seconds}
        partial = path.with_name(path.name + ".partial")
        torch.save(state | {"model": self.model.state_dict(), "optimiser": self.optimiser.state_dict()}, partial)
        partial.replace(path)

    def resumed(self, path: Path) -> tuple[list[float], float]:
        """Losses and seconds of an interrupted run whose state is taken up; none where there is none."""
        state = read_checkpoint(path, self.recipe, self.device)
        if state is None:
            return [], 0.0
        self.model.load_state_dict(state["model"])
        self.optimiser.load_state_dict(state["optimiser"])
        return list(state["losses"]), float(state["seconds"])


def read_checkpoint(path: Path, recipe: Recipe, device: torch.device | None = None) -> dict[str, Any] | None:
    """The state of an interrupted run, None where there is none. Raises RequestError where it is torn or foreign."""
    if not path.exists():
        return None
    try:
        state: dict[str, Any] = torch.load(path, weights_only=True, map_location=device or "cpu")
    except UNREADABLE as error:
        raise RequestError("the checkpoint cannot be read", where=str(path), do="remove it to start anew") from error
    if state["recipe"] != recipe.fingerprint:
        raise RequestError(
            "an interrupted pretraining by another recipe is there",
            where=str(path),
            do="choose another output, or remove the checkpoint",
        )
    return state


def _schedule(step: int, recipe: Recipe) -> float:
    warm = recipe.warmup * recipe.steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (recipe.steps - warm)))


def _on(batch: Batch, device: torch.device) -> Batch:
    return batch if device.type == "cpu" else Batch(*(tensor.to(device) for tensor in vars(batch).values()))


def _device() -> torch.device:
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")
