"""The small objects by which drivers know each other in a store: JSON with the number of its format."""

from __future__ import annotations

import json
from typing import Any

from hsray.errors import RequestError

FORMAT = 1


def read_object(content: bytes, where: str, *keys: str) -> dict[str, Any]:
    """What such an object says; `keys` are those that it must have.

    Raises:
        RequestError: it is of another format, or damaged; `where` is named.
    """
    try:
        told = json.loads(content)
    except ValueError:  # no JSON, or no text
        told = None
    if isinstance(told, dict) and (version := told.get("format", FORMAT)) != FORMAT:
        what = f"this is of format {version}, and this hsray knows format {FORMAT}"
        raise RequestError(what, where=where, do="upgrade hsray here, or go on with the version that wrote it")
    if not isinstance(told, dict) or not told.keys() >= set(keys):
        do = "where no sweep of this name runs anywhere, delete this object"
        raise RequestError("what a driver noted in the store is damaged", where=where, do=do)
    return told
