"""One run without a sweep: `hsray train` and `hsray.train(...)`."""

from __future__ import annotations

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hsray.datasets import default_data_root, open_store, training_subset
from hsray.errors import RequestError, invalid_values, problems
from hsray.models import accepted_options
from hsray.runlog import read_json, write_json
from hsray.strategies.adapters import adapter_kinds, adapter_options
from hsray.strategies.assembly import check_assembly
from hsray.strategies.features import features_bytes, features_folder, is_cacheable, size_text
from hsray.strategies.strategy import Strategy
from hsray.strategies.strategy import strategy as find_strategy
from hsray.training import RunConfig, Training, checkpoint, fit
from hsray.training.config import TRAINING_DIMENSIONS, Task
from hsray.training.stopping import never


def train(
    dataset: str,
    strategy: str | dict[str, Any],
    *,
    out: str | Path,
    task: Task = "segmentation",
    fraction: float | str = 1.0,
    seed: int = 0,
    data_root: str | Path | None = None,
    test: bool = True,
    report: Callable[[int, dict[str, float]], None] = lambda epoch, metrics: None,
    say: Callable[[str], None] = lambda message: None,
    stop: Callable[[], bool] = never,
    **hyperparameters: Any,
) -> dict[str, Any]:
    """Train one configuration into the folder `out`; return its result (state, metrics, cost, artefacts).

    `hyperparameters` are those of an experiment file: `lr=1e-3, epochs=50`, or `**{"lora.rank": 4}`. A folder that
    holds a run which was interrupted goes on; one that holds a finished run is refused.

    Raises:
        RequestError: something asked for does not exist or does not fit.
        TrainingFailed: the loss is not finite.
        RunStopped: `stop()` was true; the folder holds where it was.
    """
    root = Path(data_root).resolve() if data_root else default_data_root().resolve()
    store = open_store(dataset, root)
    recipe = find_strategy(strategy)
    folder = Path(out).resolve()
    if (folder / "result.json").exists():
        raise RequestError("a finished run lies here", where=str(folder), do="name another folder, or delete it first")
    found = [
        _unknown(recipe, name) for name in hyperparameters if not (name in TRAINING_DIMENSIONS or recipe.has(name))
    ]
    chosen = recipe.with_values(hyperparameters).adapter.kind
    for name in hyperparameters:
        kind = name.partition(".")[0]
        if recipe.has(name) and kind in adapter_kinds() and kind != chosen:
            why = f"'{name}' is an option of the adapter '{kind}', and the adapter is '{chosen}'"
            found.append(RequestError(why, do=f"set adapter={kind}, or leave it out"))
    if found:
        raise problems(found, "the request is wrong")
    try:
        training = Training(
            **{**recipe.training, **{k: v for k, v in hyperparameters.items() if k in TRAINING_DIMENSIONS}}
        )
        config = RunConfig(
            task=task, dataset=str(store.path), data_root=str(root), strategy=recipe.with_values(hyperparameters),
            fraction=fraction, seed=seed, training=training, test=test,
        )  # fmt: skip
    except ValidationError as error:
        raise problems(invalid_values(error), "the request is wrong") from None
    started = read_json(folder / "config.json")
    if started is not None and started != config.model_dump(mode="json"):
        raise RequestError(
            "a run of another configuration was interrupted here",
            where=str(folder),
            do="give the same request to go on with it, or name another folder",
        )
    training_subset(store, fraction, seed)
    check_assembly(config.strategy, task, store)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "config.json", config.model_dump(mode="json"))
    cache = root / ".features"
    if is_cacheable(config.strategy) and not features_folder(store, config.strategy, cache).is_dir():
        size = size_text(features_bytes(store, config.strategy))
        say(f"features of {store.name} under {recipe.name} are computed once and kept in {cache}: {size}")
    result = fit(config, folder, report, cache=cache, stop=stop)
    write_json(folder / "result.json", result)
    checkpoint.remove(folder)
    return result


def _unknown(recipe: Strategy, name: str) -> RequestError:
    what = f"the strategy '{recipe.name}' has no hyperparameter '{name}'"
    if name.partition(".")[0] in ("adapter", *adapter_kinds()) and not recipe.pretrained:
        return RequestError(what, do="leave it out: nothing of this strategy is pretrained, so nothing is adapted")
    parts = {
        kind: getattr(recipe, kind) for kind in ("stem", "encoder", "decoder") if getattr(recipe, kind) is not None
    }
    options = [f"{kind}.{option}" for kind, part in parts.items() for option in accepted_options(kind, part.name)]
    if recipe.pretrained:
        options += ["adapter", *(f"{kind}.{option}" for kind in adapter_kinds() for option in adapter_options(kind))]
    near = difflib.get_close_matches(name, (*TRAINING_DIMENSIONS, *options), n=1)
    if near:
        return RequestError(what, do=f"did you mean '{near[0]}'?")
    return RequestError(what, do=f"known: {', '.join((*TRAINING_DIMENSIONS, *options))}")
