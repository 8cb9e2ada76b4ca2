"""What prepare and inspect do and print."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from hsray.commands.console import bar, err

if TYPE_CHECKING:
    from hsray.datasets.prepare import NanPolicy


def prepare_dataset(
    source: str, raw: Path | None, data: Path, *, name: str | None, nan: NanPolicy, overwrite: bool
) -> None:
    from hsray.datasets.prepare import prepare

    with bar() as progress_bar:
        task = progress_bar.add_task(f"preparing {source}", total=None)

        def progress(stage: str, done: int, total: int) -> None:
            progress_bar.update(task, completed=done, total=total, description=f"{Path(source).stem}: {stage}")

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
