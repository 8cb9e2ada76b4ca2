"""What `features list` and `features prune` do and print."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hsray.commands.console import err
from hsray.errors import RequestError

if TYPE_CHECKING:
    from hsray.strategies.feature_cache import Kept


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
