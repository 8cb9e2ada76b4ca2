"""A checkpoint's scores on a prepared dataset: `hsray evaluate` and `hsray.evaluate.evaluate(...)`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from hsray.datasets import default_data_root, open_store
from hsray.errors import RequestError, invalid_values, problems
from hsray.leaderboard.published import Published, find_published
from hsray.scores import scores
from hsray.strategies.strategy import Strategy
from hsray.strategies.strategy import strategy as find_strategy
from hsray.trained import load_trained
from hsray.training.config import Task
from hsray.training.evaluation import evaluate as score_split


@dataclass(frozen=True)
class Scores:
    """The four scores as fractions of one, the mean loss, and the published row that fits, if any."""

    scores: dict[str, float]
    loss: float
    images: int
    strategy: str
    task: str
    published: Published | None


def evaluate(
    checkpoint: str | Path,
    dataset: str,
    *,
    strategy: str | dict[str, Any] | None = None,
    split: str = "test",
    task: Task | None = None,
    data_root: str | Path | None = None,
    **options: Any,
) -> Scores:
    """Score a checkpoint on a split of a prepared dataset.

    `checkpoint` is the folder of a run of ours or the weights in it, or the authors' `.ckpt`; that one needs a
    `strategy`, and `options` such as `**{"view.normalise": "none"}` change the recipe. See `load_trained`.

    Raises:
        RequestError: something asked for does not exist, or does not fit.
    """
    root = Path(data_root).resolve() if data_root else default_data_root().resolve()
    store = open_store(dataset, root)
    store.images(split)
    recipe = recipe_of(strategy, options)
    trained = load_trained(Path(checkpoint), store, root / ".features", strategy=recipe, task=task)
    found = score_split(trained.model, trained.reader, split, **trained.how)
    figures = scores(found.confusion_NKK.sum(0), store.ignore_id)
    row = find_published(trained.task, store.name, trained.strategy.name) if split == "test" else None
    return Scores(figures, found.loss, len(store.images(split)), trained.strategy.name, trained.task, row)


def recipe_of(strategy: str | dict[str, Any] | None, options: dict[str, Any]) -> Strategy | None:
    """The recipe that a checkpoint is read by; None for a run of ours, which knows it.

    Raises:
        RequestError: there is no such strategy, or it has no such option, or the option cannot have that value.
    """
    if strategy is None:
        if options:
            raise RequestError("options change a strategy, and none is named", do="name one with --strategy")
        return None
    recipe = find_strategy(strategy)
    unknown = [name for name in options if not recipe.has(name)]
    if unknown:
        raise RequestError(f"the strategy '{recipe.name}' has no option '{unknown[0]}'", do="see its parts' options")
    try:
        return recipe.with_values(options)
    except ValidationError as error:
        raise problems(invalid_values(error), "the request is wrong") from None
