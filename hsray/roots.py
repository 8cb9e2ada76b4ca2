"""Paths inside files that somebody else may have written: they stay below the folder that they are relative to."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator

LEAVES = "the path leads out of its folder; where that is meant, give the whole path (/…)"


def leaves(path: str) -> bool:
    """Whether a relative path climbs out of the folder it starts from. An absolute one says plainly where it leads."""
    pure, depth = PurePath(path), 0
    for part in () if pure.is_absolute() else pure.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            return True
    return False


def inner(path: str) -> str:
    """The path. Raises ValueError where it climbs out of its folder."""
    if leaves(path):
        raise ValueError(LEAVES)
    return path


InnerPath = Annotated[str, AfterValidator(inner)]
