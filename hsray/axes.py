"""Values of axes by name: what follows from them, and which combinations a file does without."""

from __future__ import annotations

from typing import Any


def axis_name(value: Any) -> str:
    """How a value of an axis is called: a strategy written out in place by its name."""
    return str(value.get("name")) if isinstance(value, dict) else str(value)


def axis_names(values: Any) -> list[str]:
    """The names of one value or of several."""
    return [axis_name(value) for value in (values if isinstance(values, list) else [values])]


def follows(value: Any) -> tuple[str | None, dict[str, Any]]:
    """Does a fixed value follow from an axis? `{dataset: {hyko2: 16}}` → ("dataset", {"hyko2": 16}); else None, {}."""
    if isinstance(value, dict) and len(value) == 1 and isinstance(next(iter(value.values())), dict):
        axis, by_value = next(iter(value.items()))
        return str(axis), {str(key): one for key, one in by_value.items()}
    return None, {}


def followed(value: Any, chosen: dict[str, Any]) -> Any:
    """The value itself, or the one that follows from an axis where that axis is among the chosen values."""
    axis, by_value = follows(value)
    return by_value[axis_name(chosen[axis])] if axis in chosen else value


def left_out(without: list[dict[str, Any]], chosen: dict[str, Any]) -> bool:
    """Is this combination of axis values one that the file does without?"""
    return any(all(axis_name(chosen[axis]) in axis_names(values) for axis, values in one.items()) for one in without)
