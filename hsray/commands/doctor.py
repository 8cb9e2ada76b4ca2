"""What doctor does and prints."""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from rich.markup import escape

from hsray.commands.console import err, out
from hsray.errors import RequestError

if TYPE_CHECKING:
    from hsray.sweep.upkeep.findings import Finding

SHOWN = 20


def examine(data: Path, runs: Path, uri: str, *, fix: bool, delete: list[str], format: str) -> int:
    """Print what was found and mend what may be; the exit code: 1 where something is left."""
    from hsray.sweep.upkeep.doctor import running_sweeps

    data, runs = data.resolve(), runs.resolve()
    running = running_sweeps(runs)
    found = list(_findings(data, runs, uri, {folder.name for folder in running}))
    _check_names(delete, found, [folder.name for folder in running])
    done = _treated(found, fix=fix, delete=delete)
    left = [one for one in found if one not in done and not one.itself]
    if format == "json":
        print(json.dumps({"findings": [_as_json(one, done) for one in found], "left": len(left)}, indent=1))
        return bool(left)
    for folder, driver in running.items():
        print(f"{folder.name} runs now ({driver}): it was left alone")
    if found:
        _show(found, done)
    _say_the_end(found, done, left, fix=fix)
    return bool(left)


def _findings(data: Path, runs: Path, uri: str, running: set[str]) -> Iterator[Finding]:
    from hsray.sweep.upkeep.doctor import orphan_findings, sweep_findings, sweeps_under
    from hsray.sweep.upkeep.doctor_data import feature_findings, store_findings
    from hsray.sweep.upkeep.findings import Finding
    from hsray.tracking.client import redacted

    with err.status("looking at sweeps"):
        for folder in sweeps_under(runs):
            if folder.name not in running:
                yield from sweep_findings(folder)
    with err.status("asking MLflow"):
        try:
            yield from orphan_findings(uri, runs, running)
        except RequestError as error:
            yield Finding("MLflow", redacted(uri), f"its runs were not looked at: {error.what}")
    with err.status("looking at datasets and features"):
        yield from store_findings(data)
        yield from feature_findings(data, running=bool(running))


def _check_names(names: list[str], found: list[Finding], running: list[str]) -> None:
    known = {one.name for one in found if one.told}
    for name in names:
        if name not in known:
            runs_now = next((sweep for sweep in running if name.startswith((f"{sweep}/", f"{sweep}:"))), None)
            what = f"the sweep '{runs_now}' runs now" if runs_now else f"there is nothing to delete called '{name}'"
            do = f"there are: {', '.join(sorted(known))}" if known else "`hsray doctor` prints what there is"
            raise RequestError(what, where="--delete", do="wait for it, or end it" if runs_now else do)


def _treated(found: list[Finding], *, fix: bool, delete: list[str]) -> list[Finding]:
    """Mend or delete what may be, with each sweep's folder to ourselves, and return it."""
    done = []
    for sweep, group in groupby(found, key=lambda one: one.sweep):
        actions = [(one, action) for one in group if (action := _action(one, fix=fix, delete=delete))]
        with _alone(sweep) if actions else contextlib.nullcontext():
            for one, action in actions:
                action()
                done.append(one)
    return done


def _action(one: Finding, *, fix: bool, delete: list[str]) -> Callable[[], None] | None:
    if one.told and (one.name in delete or (fix and not one.mend and not one.itself and _agreed(one))):
        return one.told
    return one.mend if fix else None


def _agreed(one: Finding) -> bool:
    from hsray.strategies.features import size_text

    if not sys.stdin.isatty():
        return False
    size = f", {size_text(one.bytes)}" if one.bytes else ""
    verb = "delete" if one.bytes else "close"
    answer = err.input(f"{escape(one.kind)}: {escape(one.what)}\n{verb} {escape(one.name)}{size}? \\[y/N] ")
    return answer.strip().lower() in ("y", "yes")


def _alone(sweep: Path | None) -> contextlib.AbstractContextManager[None]:
    """Nobody starts the sweep meanwhile. Raises RequestError where somebody has."""
    from hsray.sweep.control.lock import only_driver

    return only_driver(sweep, sweep.name) if sweep else contextlib.nullcontext()


def _show(found: list[Finding], done: list[Finding]) -> None:
    """Two lines each, so that names and paths fit; of many alike the first ones."""
    from hsray.strategies.features import size_text

    console, styles = out(), {"asks first": "yellow", "look at it": "red", "mends itself": "dim", "kept": "dim"}
    shown: dict[str, int] = {}
    for one in found:
        shown[one.kind] = shown.get(one.kind, 0) + 1
        if shown[one.kind] > SHOWN:
            continue
        state = "done" if one in done else one.level
        size = f"  {size_text(one.bytes)}" if one.bytes else ""
        coloured = f"[{styles.get(state, 'green')}]{state}[/]"
        console.print(f"[bold]{one.kind}[/]  {escape(one.name)}{size}  {coloured}", highlight=False, soft_wrap=True)
        console.print(f"  {escape(one.what)}", highlight=False, soft_wrap=True)
    for kind, count in shown.items():
        if count > SHOWN:
            console.print(f"[bold]{kind}[/]  and {count - SHOWN} more (--format json prints all)", highlight=False)


def _say_the_end(found: list[Finding], done: list[Finding], left: list[Finding], *, fix: bool) -> None:
    if not found:
        print("healthy: nothing was found")
        return
    print()
    if done:
        print(f"done: {len(done)}")
    safe = sum(one.mend is not None for one in left)
    told = sum(one.told is not None and one.mend is None for one in left)
    if safe and not fix:
        print(f"safe to mend, without losing anything: {safe}    hsray doctor --fix")
    if told:
        print(f"deleted, or closed, only when they are named: {told}    hsray doctor --delete NAME")
    if not left:
        print("nothing is left to do")


def _as_json(one: Finding, done: list[Finding]) -> dict:
    state = "done" if one in done else one.level
    return {"finding": one.kind, "name": one.name, "what": one.what, "bytes": one.bytes, "state": state}
