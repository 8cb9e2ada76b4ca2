"""A driver's folder and its store made equal: once when it starts, once when it ends, by one listing."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from hsray.storage.mirror import AT_ONCE, LOG, RESULT, fetch, is_checkpoint
from hsray.storage.store import Entry, Store

SMALL = ("spec.json", LOG, "error.txt", RESULT)  # what the driver reads of a run; the result last
OWN = ("driver.json", "home.json")


def reconcile(store: Store, folder: Path) -> None:
    """Bring what runs left here and is only there; send what is only here, or differs where a run has ended here."""
    there = store.list()
    runs = {"/".join(name.split("/")[:3]) for name in there if name.startswith("cells/") and name.count("/") == 3}
    runs |= {path.parent.relative_to(folder).as_posix() for path in folder.glob("cells/*/*/spec.json")}
    wanted = [name for name in there if _is_of_sweep(name) and not (folder / name).exists()]
    ended_here: list[str] = []
    for run in sorted(runs):
        if (folder / run / RESULT).exists():
            ended_here.append(run)
        elif f"{run}/{RESULT}" in there:
            wanted += [f"{run}/{name}" for name in SMALL if f"{run}/{name}" in there]
        else:
            names = (f"{run}/{name}" for name in SMALL)
            wanted += [name for name in names if name in there and _is_behind(folder / name, there[name])]
    # Results after all else, so that a run has its log where it has a result.
    fetch(store, {name: folder / name for name in wanted if not name.endswith(RESULT)})
    fetch(store, {name: folder / name for name in wanted if name.endswith(RESULT)})
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda run: send_results(store, folder, run, there), ended_here))
        of_sweep = [p.name for p in folder.iterdir() if p.is_file() and _is_of_sweep(p.name)]
        list(pool.map(lambda name: _send(store, folder, name), of_sweep))
        left = [n for n in there if is_checkpoint(n) and (folder / n).with_name(RESULT).exists()]
        list(pool.map(store.delete, left))


def send_results(store: Store, folder: Path, run: str, there: dict[str, Entry] | None = None) -> None:
    """Send the small files of a run, but for those that are `there` with the same size."""
    for name in _named(run, SMALL):
        path = folder / name
        if path.exists() and (there is None or name not in there or there[name].size != path.stat().st_size):
            _send(store, folder, name)


def _is_behind(path: Path, entry: Entry) -> bool:
    """Is a file of an open run not here, or its log shorter than the store's? A driver that was killed heard less."""
    if not path.exists():
        return True
    return path.name == LOG and path.stat().st_size < entry.size


def _send(store: Store, folder: Path, name: str) -> None:
    store.put(name, (folder / name).read_bytes())


def _named(run: str, names: Iterable[str]) -> list[str]:
    return [f"{run}/{name}" for name in names]


def _is_of_sweep(name: str) -> bool:
    return "/" not in name and name.endswith((".json", ".yaml")) and name not in OWN and not name.startswith(".")
