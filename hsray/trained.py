"""A trained model from its checkpoint, ready for a dataset: a run of ours, or a checkpoint of the study's authors."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hsray.datasets import CubeStore, open_store
from hsray.datasets.samples import Reader
from hsray.datasets.views import ViewLayer
from hsray.errors import RequestError
from hsray.models import decoder as decoder_class
from hsray.models import encoder as encoder_class
from hsray.runlog import read_json
from hsray.strategies.assembly import assemble, told_of_building
from hsray.strategies.features import is_cacheable
from hsray.strategies.strategy import Features, Strategy
from hsray.strategies.tensorfile import read_tensors
from hsray.strategies.weights import misfit
from hsray.training import RunConfig
from hsray.training.config import Task
from hsray.training.finals import WEIGHTS

NOT_THE_MODELS = ("criterion.",)  # class weights of the loss


@dataclass(frozen=True)
class Trained:
    """A model in evaluation mode, what it reads, and how it is run over images."""

    model: nn.Module
    reader: Reader
    strategy: Strategy
    task: Task
    how: dict[str, Any]


def own_config(checkpoint: Path) -> RunConfig | None:
    """The configuration of a run of ours, from its folder or its weights' file; None for a stranger's file.

    Raises:
        RequestError: there is nothing of that name, or a folder that holds no run.
    """
    if not checkpoint.exists():
        raise RequestError("there is no such checkpoint", where=str(checkpoint), do="give a run's folder, or a file")
    folder = checkpoint if checkpoint.is_dir() else checkpoint.parent
    if checkpoint.is_file() and checkpoint.name != WEIGHTS:
        return None
    content = read_json(folder / "config.json") or (read_json(folder / "spec.json") or {}).get("config")
    if content is not None:
        return RunConfig.model_validate(content)
    if checkpoint.is_dir():
        raise RequestError("this folder holds no run", where=str(checkpoint), do="give the folder of `hsray train`")
    return None


def load_trained(
    checkpoint: Path,
    store: CubeStore,
    cache: Path,
    *,
    strategy: Strategy | None = None,
    task: Task | None = None,
) -> Trained:
    """The model of a checkpoint for the images of `store`; features of frozen encoders go into `cache`.

    Runs of ours know their strategy. A checkpoint of the authors needs `strategy`, the recipe whose parts its tensors
    fit: they are looked for under whatever prefix they stand (`model.`, `backbone.spectral_encoder.`). Where its view
    says nothing else, it gets the input that the authors give: `hs3bench` (see `fit_view`), and a spectral encoder the
    stored values. Features of a frozen encoder go to the decoder unscaled and in float32, as theirs do.

    Raises:
        RequestError: no such checkpoint, or its tensors do not fit the strategy and the dataset.
    """
    if strategy is not None and checkpoint.is_dir():
        raise RequestError(
            "a run's folder knows its strategy", where=str(checkpoint), do="leave --strategy and --set out"
        )
    config = own_config(checkpoint) if strategy is None else None
    if config is not None:
        path = checkpoint / WEIGHTS if checkpoint.is_dir() else checkpoint
        if not path.is_file():
            do = "train with the test set, as finals and `hsray train` do"
            raise RequestError("this run left no weights; only runs that read the test set do", where=str(path), do=do)
        if config.strategy.features.pca is not None:
            _check_components(config, store)
        built = assemble(config.strategy, config.task, store, [0], cache, load=False)
        _load(built.model, read_tensors(path), "model", path, store)
        training = config.training
        how = {"task": config.task, "window": training.window, "overlap": training.overlap, "half": training.half}
        return _ready(built.model, built.reader, config.strategy, config.task, how)
    if strategy is None:
        raise RequestError(
            "this checkpoint does not say what it is: no config.json or spec.json lies beside it",
            where=str(checkpoint),
            do="name the strategy whose parts it holds: --strategy unet",
        )
    return _of_authors(checkpoint, store, cache, strategy, task)


def _check_components(config: RunConfig, store: CubeStore) -> None:
    """Components of features are of the training images of the run's dataset; those of another would be others."""
    try:
        own = open_store(config.dataset, store.path.parent).fingerprint
    except RequestError:
        own = None
    if store.fingerprint != own:
        raise RequestError(
            f"this run's features are {config.strategy.features.pca} principal components of the dataset that it was "
            "trained on, and these images are of another one, or that one is not there any more",
            where=f"features.pca, dataset {config.dataset}",
            do="give that dataset or a split of it, or train without features.pca",
        )


def _of_authors(path: Path, store: CubeStore, cache: Path, strategy: Strategy, task: Task | None) -> Trained:
    tensors = {name: t for name, t in read_tensors(path).items() if not name.startswith(NOT_THE_MODELS)}
    part = strategy.encoder
    spectral = part is not None and getattr(encoder_class(part.name), "takes", "") == "spectrum"
    takes = getattr(decoder_class(strategy.decoder.name), "takes", "map")
    task = task or ("spectral" if takes == "vector" else "segmentation")
    view = strategy.view.model_copy(
        update={"normalise": strategy.view.normalise or ("none" if spectral else "hs3bench")}
    )
    recipe = strategy.model_copy(update={"view": view, "features": Features(dtype="float32")})
    # The encoder's tensors may stand in the checkpoint; else it was frozen, and only what follows it was trained.
    whole = recipe.model_copy(update={"adapter": recipe.adapter.model_copy(update={"kind": "full"})})
    with told_of_building(whole, store):
        built = assemble(whole, task, store, [0], cache, load=False)
    if is_cacheable(recipe) and not _prefix(built.model.encoder.state_dict(), tensors)[1]:
        built = assemble(recipe, task, store, [0], cache)
        channels = built.model.view.mean_C.cpu().numpy()
        built.model.view = ViewLayer(0 * channels, 0 * channels + 1, "none")
    built.model.rescale = nn.Identity()
    for name in ("encoder", "stem", "decoder"):
        module = getattr(built.model, name)
        if module is not None and module.state_dict():
            what = f"{name} '{getattr(strategy, name).name}'"
            own = module.state_dict()
            prefix, _ = _prefix(own, tensors)
            mine = {n.removeprefix(prefix): t for n, t in tensors.items() if n.startswith(prefix)}
            rest = {n: t for n, t in tensors.items() if not n.startswith(prefix)}
            if name != "decoder":  # it may leave something unused; the decoder answers for all that is left
                rest |= {} if prefix else {n: t for n, t in mine.items() if n not in own}
                mine = {n: t for n, t in mine.items() if n in own}
            fault = f"{next(iter(rest))}: in the checkpoint, and in no part" if name == "decoder" and rest else None
            _load(module, mine, what, path, store, fault)
            tensors = rest
    how = {"task": task, "window": None, "overlap": 0.0, "half": True}
    return _ready(built.model, built.reader, strategy, task, how)


def _prefix(own: dict[str, Tensor], tensors: dict[str, Tensor]) -> tuple[str, int]:
    """Under which prefix most of a module's names stand among the tensors, and how many do; the shortest of equals."""
    parts = [name.split(".") for name in tensors]
    prefixes = {"".join(f"{part}." for part in name[:depth]) for name in parts for depth in range(min(4, len(name)))}
    counts = {prefix: sum(prefix + name in tensors for name in own) for prefix in prefixes}
    best = min(counts, key=lambda prefix: (-counts[prefix], len(prefix)), default="")
    return best, counts.get(best, 0)


def _load(
    module: Any, tensors: dict[str, Tensor], what: str, path: Path, store: CubeStore, besides: str | None = None
) -> None:
    """Load every tensor of a module, or say what does not fit (`besides`: a fault that was found before)."""
    own = module.state_dict()
    fault = misfit(own, tensors, (), what) or besides
    if fault is not None:
        bands = "view.mean_C"
        if bands in own and bands in tensors and own[bands].shape != tensors[bands].shape:
            fault = f"the model takes {len(tensors[bands])} channels; the dataset gives {len(own[bands])}"
        raise RequestError(
            fault,
            where=str(path),
            do=f"choose the strategy it was trained as, and a dataset with its bands and classes ('{store.name}' has "
            f"{store.bands} bands and {store.num_classes} classes, the undefined one counted)",
        )
    module.load_state_dict({name: tensors.get(name, value) for name, value in own.items()})


def _ready(model: nn.Module, reader: Reader, strategy: Strategy, task: Task, how: dict[str, Any]) -> Trained:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    half = bool(how["half"]) and device.type == "cuda" and torch.cuda.is_bf16_supported()
    return Trained(model.to(device).eval(), reader, strategy, task, {**how, "half": half, "device": device})
