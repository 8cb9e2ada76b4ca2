"""Variants of an experiment file: `smoke` is the same comparison, so small that it shows in a minute that all works."""

from __future__ import annotations

from typing import Any

from hsray.axes import axis_names
from hsray.errors import RequestError, problems

SECTIONS = ("axes", "search", "fixed", "budget", "final", "resources")


def smoke_variant(content: dict[str, Any], where: str) -> dict[str, Any]:
    """The file with what its section `smoke` says in the place of its own, under the name `<name>-smoke`.

    Sections are replaced key by key, and `null` takes a key out. `strategies` changes strategies by name (smaller
    encoders, other weights): the list of strategies stays that of the file.

    Raises:
        RequestError: the file has no such section, or it names something that the file has not.
    """
    changes = content.get("smoke")
    if not isinstance(changes, dict) or not changes:
        raise RequestError("the file has no smoke variant", where=f"{where}: smoke", do="leave --smoke out, or add one")
    if unknown := sorted(set(changes) - {*SECTIONS, "strategies"}):
        raise RequestError(
            f"a smoke variant has no part {', '.join(unknown)}",
            where=f"{where}: smoke",
            do=f"use {', '.join((*SECTIONS, 'strategies'))}",
        )
    small = {**content, "name": f"{content.get('name')}-smoke", "smoke": {}}
    for section in SECTIONS:
        if section in changes:
            merged = {**(content.get(section) or {}), **(changes[section] or {})}
            small[section] = {key: value for key, value in merged.items() if value is not None}
    if content.get("without"):
        small["without"] = _still_there(content["without"], small.get("axes") or {})
    if "strategies" in changes:
        axes = small.get("axes") or {}
        small["axes"] = {**axes, "strategy": _changed(axes.get("strategy") or [], changes["strategies"], where)}
    return small


def _still_there(without: list[dict[str, Any]], axes: dict[str, Any]) -> list[dict[str, Any]]:
    """What is not on a smaller axis need not be left out of it."""
    kept = [
        {axis: [v for v in axis_names(values) if v in axis_names(axes.get(axis) or [])] for axis, values in one.items()}
        for one in without
    ]
    return [one for one in kept if all(one.values())]


def _changed(strategies: list[Any], changes: dict[str, Any], where: str) -> list[Any]:
    names = axis_names(strategies)
    found = [
        RequestError(f"no strategy of the file is called '{name}'", where=f"{where}: smoke.strategies.{name}")
        for name in changes
        if name not in names
    ]
    if found:
        raise problems(found, f"{where} cannot be run")
    changed = []
    for name, one in zip(names, strategies, strict=True):
        recipe = dict(one) if isinstance(one, dict) else {"base": one, "name": one}
        for part, change in (changes.get(name) or {}).items():
            kept = recipe.get(part)
            recipe[part] = {**kept, **change} if isinstance(kept, dict) and isinstance(change, dict) else change
        changed.append(recipe if name in changes else one)
    return changed
