"""What the commands do, and what they print while they do it."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from hsray.errors import HsrayError, RequestError

if TYPE_CHECKING:
    from hsray.datasets.prepare import NanPolicy
    from hsray.strategies.feature_cache import Kept
    from hsray.sweep.run import SweepResult
    from hsray.training.config import Task

err = Console(stderr=True)


def _bar() -> Progress:
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    return Progress(*columns, console=err, transient=True)


def prepare_dataset(
    source: str, raw: Path | None, data: Path, *, name: str | None, nan: NanPolicy, overwrite: bool
) -> None:
    from hsray.datasets.prepare import prepare

    with _bar() as bar:
        task = bar.add_task(f"preparing {source}", total=None)

        def progress(stage: str, done: int, total: int) -> None:
            bar.update(task, completed=done, total=total, description=f"{Path(source).stem}: {stage}")

        store = prepare(source, raw, data, name=name, nan=nan, overwrite=overwrite, progress=progress)
    for reason in store.source.get("skipped", {}).values():
        err.print(f"[yellow]left out:[/] {escape(reason)}")
    print(f"prepared: {store.path}\nlook at it: hsray inspect {store.name} --data {data}")


def inspect_dataset(dataset: str, data: Path, picture: Path | None) -> None:
    from hsray.datasets import open_store
    from hsray.datasets.inspect import describe
    from hsray.datasets.inspect import picture as draw

    store = open_store(dataset, data)
    found = describe(store)
    console = Console()
    low, high = found["wavelengths_nm"]
    console.print(f"[bold]{escape(found['name'])}[/]  {found['bands']} bands, {low:g}–{high:g} nm  ({store.path})")
    console.print(f"fingerprint {found['fingerprint']}", style="dim")
    table = Table(box=None, title_justify="left")
    for column in ("id", "class", *found["splits"]):
        table.add_column(column, justify="left" if column == "class" else "right")
    table.add_row("", "images", *(str(split["images"]) for split in found["splits"].values()), style="bold")
    for info in found["classes"]:
        swatch = f"[rgb({','.join(map(str, info['rgb']))})]■[/] {escape(info['name'])}"
        shares = [_share(info, split) for split in found["splits"]]
        table.add_row(str(info["id"]), swatch + ("" if info["scored"] else " [dim](not scored)[/]"), *shares)
    console.print(table)
    for one in found["left_out"]:
        console.print(f"left out: {escape(one['name'])}: {escape(one['reason'])}", style="yellow")
    if picture is not None:
        draw(store, picture)
        console.print(f"picture: {picture}")


def _share(info: dict[str, Any], split: str) -> str:
    return f"{100 * info['share'][split]:.2f} %" if info["scored"] else f"{info['pixels'][split]} px"


def pretrain_encoder(recipe: Path, data: Path, out: Path, uri: str, workers: int | None) -> None:
    from hsray.pretraining.recipe import load_recipe
    from hsray.pretraining.tracked import run
    from hsray.tracking.client import redacted

    with _bar() as bar:
        task = bar.add_task("pretraining", total=None)

        def progress(step: int, total: int, loss: float) -> None:
            bar.update(task, completed=step, total=total, description=f"loss {loss:.5f}")

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
    if own := sorted({"task", "fraction", "seed", "test", "out", "data_root", "report", "say"} & set(values)):
        raise RequestError(f"{', '.join(own)} is no hyperparameter", where="--set", do="use the option of that name")
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
        **values,
    )
    for name in METRICS:
        print(f"test {name:15s} {100 * result['metrics'][f'test/{name}']:6.2f} %")
    print(f"the run: {out}   predict with it: hsray predict {out} CUBES --out maps")


def evaluate_checkpoint(
    checkpoint: Path,
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

    found = evaluate(
        checkpoint, dataset, strategy=strategy, split=split, task=task, data_root=data,
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
    checkpoint: Path,
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

    with _bar() as bar:
        shown = bar.add_task("predicting", total=None)

        def report(done: int, total: int) -> None:
            bar.update(shown, completed=done, total=total)

        written = predict(
            checkpoint, source, out=out, strategy=strategy, like=like, split=split, key=key, task=task,
            data_root=data, overwrite=overwrite, report=report, **dict(map(parse_setting, settings)),
        )  # fmt: skip
    print(f"{(len(written) - 1) // 3} label maps and overlays: {out}")


def print_plan(experiment: Path, data: Path, runs: Path, *, smoke: bool) -> None:
    from hsray.experiment import load_experiment
    from hsray.sweep.cells import cells
    from hsray.sweep.jobs import contaminated, ended_runs

    loaded = load_experiment(experiment, smoke=smoke)
    found = cells(loaded, data.resolve(), str(experiment))
    table = Table(box=None)
    for column in ("cell", "searched", "trials ended", "finals ended"):
        table.add_column(column, justify="left" if column in ("cell", "searched") else "right")
    for cell in found:
        trials, finals = ended_runs(runs / loaded.name / "cells" / cell.id)
        planned = loaded.budget.trials if cell.space else 1
        seeds = 0 if cell.searches_fraction else loaded.final.seeds
        table.add_row(
            "  ".join(map(str, cell.axes.values())), ", ".join(cell.space), f"{trials}/{planned}", f"{finals}/{seeds}"
        )
    Console().print(table)
    print(f"{len(found)} cells, at most {loaded.budget.epochs} epochs a run")
    for strategy, dataset, seen in sorted({(c.strategy.name, c.store.name, contaminated(c)) for c in found}):
        if seen:
            err.print(f"[yellow]contaminated:[/] the encoder of {escape(strategy)} has seen {escape(dataset)} ({seen})")


def run_sweep(experiment: Path, data: Path, runs: Path, uri: str, *, smoke: bool) -> None:
    from hsray.experiment import load_experiment

    loaded = load_experiment(experiment, smoke=smoke)
    # Ray and torch take seconds to import: only once the file is known to be right.
    from hsray.leaderboard import print_table
    from hsray.sweep.live import LiveView
    from hsray.sweep.run import sweep

    result = sweep(loaded, data_root=data, runs_root=runs, tracking_uri=uri, where=str(experiment), view=LiveView(err))
    finish(result, uri, lambda: print_table(loaded.name, uri, "table"))


def print_features(data: Path, format: str) -> None:
    from hsray.strategies.feature_cache import as_text, kept_features

    found = kept_features(data / ".features")
    if format != "table":
        print(as_text(found, format))
    elif not found:
        print(f"no features are kept under {data}")
    else:
        _show_features(Console(), found)


def delete_kept_features(
    data: Path, names: list[str], unused_days: float | None, *, everything: bool, yes: bool
) -> None:
    from hsray.strategies.feature_cache import chosen_features, delete_features
    from hsray.strategies.features import size_text

    chosen = chosen_features(data / ".features", names, unused_days, everything)
    if not chosen:
        print("nothing to delete")
        return
    _show_features(err, chosen)
    what = f"{len(chosen)} kept features, {size_text(sum(one.bytes for one in chosen))}"
    if not yes and not sys.stdin.isatty():
        raise RequestError(f"{what}: not deleted, for nobody can be asked", do="give --yes")
    if yes or err.input(f"delete {what}? \\[y/N] ").strip().lower() in ("y", "yes"):
        delete_features(data / ".features", chosen)
        print(f"deleted: {what}")
    else:
        print("nothing was deleted")


def _show_features(console: Console, found: list[Kept]) -> None:
    from hsray.strategies.features import size_text

    table = Table(box=None)
    for column in ("folder", "dataset", "encoder", "weights", "dtype", "channels", "size", "last use (UTC)", "state"):
        table.add_column(column, justify="right" if column in ("channels", "size") else "left", overflow="fold")
    for one in found:
        size, used = size_text(one.bytes), f"{one.last_use:%Y-%m-%d %H:%M}"
        state = f"{one.state}, {one.note}" if one.note else one.state
        cells = (one.folder, one.dataset, one.encoder, one.weights, one.dtype, str(one.channels), size, used, state)
        table.add_row(*map(escape, cells))
    (console if console.is_terminal else Console(file=console.file, width=180)).print(table, highlight=False)


def finish(result: SweepResult, uri: str, show: Callable[[], None]) -> None:
    """Say what failed, show the table, say where the runs are. Raises HsrayError where MLflow has not got them all."""
    from hsray.tracking.client import redacted

    for cell, reasons in result.failures.items():
        err.print(f"[yellow]failed in {escape(cell)}:[/]")
        for reason in reasons:
            err.print(f"  {escape(reason)}", highlight=False)
    if result.undelivered:
        raise HsrayError(
            f"{result.undelivered} records are not in MLflow yet: {result.trouble or 'it did not answer in time'}",
            where=redacted(uri),
            do="run the same command again when it answers; nothing is trained twice",
        )
    show()
    served = uri.startswith(("http://", "https://"))
    print(f"\nsee the runs:  {redacted(uri) if served else f'mlflow ui --backend-store-uri {redacted(uri)}'}")
