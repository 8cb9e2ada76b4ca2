"""Paths inside files that somebody else may have written: they stay below the folder that they are relative to."""

from __future__ import annotations

from pathlib import PurePath
from typing import Annotated

from pydantic import AfterValidator

LONGEST = 200  # bytes of a part; file systems take 255, and some parts get an ending


def inner(path: str) -> str:
    """The path.

    Raises:
        ValueError: it is relative and climbs out of the folder it starts from (an absolute one says plainly where it
            leads), or no file system would take it.
    """
    pure, depth = PurePath(path), 0
    if "\0" in path or any(len(part.encode(errors="replace")) > LONGEST for part in pure.parts):
        raise ValueError("this is no path: a part of it is too long, or it holds a zero byte")
    for part in () if pure.is_absolute() else pure.parts:
        depth += -1 if part == ".." else 1
        if depth < 0:
            raise ValueError("the path leads out of its folder; where that is meant, give the whole path (/…)")
    return path


InnerPath = Annotated[str, AfterValidator(inner)]
