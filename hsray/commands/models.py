"""What pretrain, train, evaluate and predict do and print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hsray.commands.console import bar, err
from hsray.commands.interrupts import saved_on_interrupt
from hsray.errors import RequestError

if TYPE_CHECKING:
    from hsray.training.config import Task


def pretrain_encoder(recipe: Path, data: Path, out: Path, uri: str, workers: int | None) -> None:
    from hsray.pretraining.recipe import load_recipe
    from hsray.pretraining.tracked import run
    from hsray.tracking.client import redacted

    with bar() as progress_bar:
        task = progress_bar.add_task("pretraining", total=None)

        def progress(step: int, total: int, loss: float) -> None:
            progress_bar.update(task, completed=step, total=total, description=f"loss {loss:.5f}")

        changes = {} if workers is None else {"workers": workers}
        written, problem = run(load_recipe(recipe, **changes), data, out, uri, progress)
    print(f"weights: {written}")
    if problem is not None:
        err.print(f"not all of it is in MLflow ({redacted(uri)}): {problem}", style="yellow", highlight=False)
        err.print("the same command again delivers the rest", style="yellow")


def train_once(
    dataset: str, strategy: str, out: Path, data: Path, task: Task, fraction: str, seed: int, settings: list[str]
) -> None:
    from hsray.experiment import parse_setting
    from hsray.scores import METRICS
    from hsray.single import train
    from hsray.training import SCORE

    def report(epoch: int, metrics: dict[str, float]) -> None:
        err.print(
            f"epoch {epoch + 1:4d}  loss {metrics['train/loss']:.4f}  validation: loss {metrics['val/loss']:.4f}  "
            f"Jaccard {100 * metrics[SCORE]:.2f} %",
            highlight=False,
        )

    share = fraction if fraction.startswith("official:") else parse_setting(f"fraction={fraction}")[1]
    values = dict(map(parse_setting, settings))
    if own := sorted({"task", "fraction", "seed", "test", "out", "data_root", "report", "say", "stop"} & set(values)):
        raise RequestError(f"{', '.join(own)} is no hyperparameter", where="--set", do="use the option of that name")
    with saved_on_interrupt(out) as asked:
        result = train(
            dataset,
            strategy,
            out=out,
            task=task,
            fraction=share,
            seed=seed,
            data_root=data,
            report=report,
            say=lambda message: err.print(message, highlight=False),
            stop=asked,
            **values,
        )
    for name in METRICS:
        print(f"test {name:15s} {100 * result['metrics'][f'test/{name}']:6.2f} %")
    print(f"the run: {out}   predict with it: hsray predict {out} CUBES --out maps")


def evaluate_checkpoint(
    checkpoint: str,
    dataset: str,
    data: Path,
    *,
    strategy: str | None,
    split: str,
    task: Task | None,
    settings: list[str],
) -> None:
    from hsray.evaluate import evaluate
    from hsray.experiment import parse_setting
    from hsray.storage import local_checkpoint

    found = evaluate(
        local_checkpoint(checkpoint), dataset, strategy=strategy, split=split, task=task, data_root=data,
        **dict(map(parse_setting, settings)),
    )  # fmt: skip
    row = found.published
    print(f"{found.strategy} on {found.images} images of {dataset}, {split}")
    if row is not None:
        print(f"beside: {row.model}, {row.input} ({row.source})")
    for name, score in found.scores.items():
        line = f"{split} {name:15s} {100 * score:6.2f} %"
        if row is not None and name in row.scores:
            line += f"   published {row.scores[name]:6.2f}   difference {100 * score - row.scores[name]:+6.2f}"
            if name in row.disputed:
                line += f"   († or {row.disputed[name][0]:.2f}: {row.disputed[name][1]})"
        print(line)


def predict_cubes(
    checkpoint: str,
    source: str,
    out: Path,
    data: Path,
    *,
    strategy: str | None,
    like: str | None,
    split: str,
    key: str | None,
    task: Task | None,
    settings: list[str],
    overwrite: bool,
) -> None:
    from hsray.experiment import parse_setting
    from hsray.predict import predict
    from hsray.storage import local_checkpoint

    with bar() as progress_bar:
        shown = progress_bar.add_task("predicting", total=None)

        def report(done: int, total: int) -> None:
            progress_bar.update(shown, completed=done, total=total)

        written = predict(
            local_checkpoint(checkpoint), source, out=out, strategy=strategy, like=like, split=split, key=key,
            task=task, data_root=data, overwrite=overwrite, report=report, **dict(map(parse_setting, settings)),
        )  # fmt: skip
    print(f"{(len(written) - 1) // 3} label maps and overlays: {out}")
