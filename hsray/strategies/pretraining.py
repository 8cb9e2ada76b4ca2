"""Masked pretraining of a small HyperSL encoder on tables of spectra; the recipe is data."""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import nn

from hsray.errors import RequestError, TrainingFailed
from hsray.models.hypersl import HyperSL
from hsray.strategies.model_card import write_weights
from hsray.strategies.spectra_sources import Augmentation, Grid, Source, SpectraTable, draw_batch, read_source
from hsray.strategies.weights import UNREADABLE

Progress = Callable[[int, int, float], None]  # steps done, steps in all, loss of the last step


class EncoderShape(BaseModel):
    """The form of the encoder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    width: int = Field(default=64, ge=8)
    depth: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    decoder_depth: int = Field(default=2, ge=1)


class Recipe(BaseModel):
    """All that a pretraining depends on besides the data themselves."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    sources: list[Source] = Field(min_length=1)
    encoder: EncoderShape = EncoderShape()
    grid: Grid = Grid()
    augmentation: Augmentation = Augmentation()
    mask: float = Field(default=0.75, gt=0, lt=1)  # share of the bands taken away
    describe: float = Field(default=1.0, ge=0)  # weight of the reconstruction from the feature alone
    steps: int = Field(ge=1)
    batch: int = Field(default=128, ge=2)
    lr: float = Field(default=2e-3, gt=0)
    weight_decay: float = Field(default=0.05, ge=0)
    warmup: float = Field(default=0.05, ge=0, le=1)  # share of the steps
    clip: float = Field(default=1.0, gt=0)  # largest gradient norm
    seed: int = 0
    checkpoint_every: int = Field(default=200, ge=1)


def load_recipe(path: Path) -> Recipe:
    """Read a recipe from YAML. Raises RequestError with all its problems at once."""
    if not path.is_file():
        raise RequestError("the recipe is not there", where=str(path), do="give the path of a YAML file")
    try:
        return Recipe.model_validate(yaml.safe_load(path.read_text()))
    except yaml.YAMLError as error:
        raise RequestError(f"the recipe is not valid YAML: {error}", where=str(path), do="mend it") from error
    except ValidationError as error:
        found = [f"{'.'.join(map(str, one['loc'])) or 'file'}: {one['msg']}" for one in error.errors()]
        raise RequestError("the recipe has problems\n" + "\n".join(found), where=str(path), do="mend them") from error


def pretrain(recipe: Recipe, data: Path, out: Path, progress: Progress | None = None) -> Path:
    """Pretrain and write `<out>.safetensors`, `.json`, `.md` and `.png`; return the path of the weights.

    `data` is the folder that the sources' files are relative to; `out` may end in `.safetensors`.

    An interrupted run goes on from `<out>.checkpoint` and ends with the same weights as an uninterrupted one on the
    same machine. Raises RequestError where the request is bad or the output exists, TrainingFailed where the loss is
    not finite.
    """
    out = out.with_suffix("") if out.suffix == ".safetensors" else out
    weights = out.with_name(out.name + ".safetensors")
    checkpoint = out.with_name(out.name + ".checkpoint")
    if weights.exists():
        raise RequestError("the output exists", where=str(weights), do="choose another output or remove it")
    tables = [read_source(source, data, recipe.grid) for source in recipe.sources]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        model = HyperSL(1, torch.zeros(1), **recipe.encoder.model_dump())
    optimiser = torch.optim.AdamW(model.parameters(), lr=recipe.lr, weight_decay=recipe.weight_decay)
    out.parent.mkdir(parents=True, exist_ok=True)
    losses, seconds = _resumed(checkpoint, recipe, model, optimiser)
    began = time.monotonic() - seconds
    model.train()
    while len(losses) < recipe.steps:
        losses.append(_step(recipe, len(losses), tables, model, optimiser))
        if len(losses) % recipe.checkpoint_every == 0 and len(losses) < recipe.steps:
            run = {"recipe": _fingerprint(recipe), "losses": losses, "seconds": time.monotonic() - began}
            _save(checkpoint, run | {"model": model.state_dict(), "optimiser": optimiser.state_dict()})
        if progress:
            progress(len(losses), recipe.steps, losses[-1])
    seconds = time.monotonic() - began
    write_weights(out, model, recipe=recipe.model_dump(mode="json"), tables=tables, losses=losses, seconds=seconds)
    checkpoint.unlink(missing_ok=True)
    return weights


def _step(
    recipe: Recipe, step: int, tables: list[SpectraTable], model: HyperSL, optimiser: torch.optim.Optimizer
) -> float:
    # Each step draws from a generator of its own, so that a resumed run sees the same batches.
    random = torch.Generator().manual_seed(recipe.seed * 1_000_003 + step)
    noisy_BL, clean_BL, wavelengths_BL = draw_batch(tables, recipe.batch, recipe.grid, recipe.augmentation, random)
    order_BL = torch.rand(noisy_BL.shape, generator=random).argsort(dim=1)
    kept = max(1, round(noisy_BL.shape[1] * (1 - recipe.mask)))
    keep_BM, masked_BM = order_BL[:, :kept], order_BL[:, kept:]
    # Masked bands are hidden from the convolutions too; else each kept band would tell of its neighbours.
    predicted_BL, feature_BD = model.reconstruct(noisy_BL.scatter(1, masked_BM, 0.0), wavelengths_BL, keep_BM)
    loss = (predicted_BL - clean_BL).gather(1, masked_BM).square().mean()
    if recipe.describe:
        # The official objective uses the feature as a query only; this term makes it hold the spectrum itself.
        loss = loss + recipe.describe * (model.describe(feature_BD, wavelengths_BL) - clean_BL).square().mean()
    if not torch.isfinite(loss):
        raise TrainingFailed(f"the loss is {loss.item()} at step {step + 1}", do="lower the recipe's learning rate")
    for group in optimiser.param_groups:
        group["lr"] = recipe.lr * _schedule(step, recipe)
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), recipe.clip)
    optimiser.step()
    return loss.item()


def _schedule(step: int, recipe: Recipe) -> float:
    warm = recipe.warmup * recipe.steps
    if step < warm:
        return (step + 1) / (warm + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - warm) / (recipe.steps - warm)))


def _fingerprint(recipe: Recipe) -> str:
    return hashlib.sha256(recipe.model_dump_json(exclude={"checkpoint_every"}).encode()).hexdigest()


def _save(path: Path, state: dict[str, Any]) -> None:
    partial = path.with_name(path.name + ".partial")
    torch.save(state, partial)
    partial.replace(path)


def _resumed(path: Path, recipe: Recipe, model: HyperSL, optimiser: torch.optim.Optimizer) -> tuple[list[float], float]:
    if not path.exists():
        return [], 0.0
    try:
        state = torch.load(path, weights_only=True)
    except UNREADABLE as error:
        raise RequestError("the checkpoint cannot be read", where=str(path), do="remove it to start anew") from error
    if state["recipe"] != _fingerprint(recipe):
        raise RequestError(
            "an interrupted pretraining by another recipe is there",
            where=str(path),
            do="choose another output, or remove the checkpoint",
        )
    model.load_state_dict(state["model"])
    optimiser.load_state_dict(state["optimiser"])
    return list(state["losses"]), float(state["seconds"])
