"""What a mirror holds, and what it should."""

from __future__ import annotations

from pathlib import Path

import polars as pl
from polars.testing import assert_frame_equal

from hsray.leaderboard.mirror import Mirror, sync

TABLES = ("metrics", "params", "tags")
Content = dict[str, pl.DataFrame]


def content(folder: Path) -> Content:
    """All tables of a mirror in an order of their own, without the name of the source."""
    mirror = Mirror(folder, offline=True)
    runs = {"runs": mirror.runs().collect().drop("source").sort("run_id")}
    return runs | {name: getattr(mirror, name)().collect().drop("source").sort("run_id", "key") for name in TABLES}


def same(found: Content, expected: Content) -> None:
    """Equal to the last digit; NaN equals NaN."""
    for name, frame in expected.items():
        assert_frame_equal(found[name], frame, check_exact=True)


def fresh(folder: Path, uri: str) -> Content:
    """What a new mirror in `folder` holds after its first sync."""
    sync(folder, uri)
    return content(folder)


def is_equal(found: Content, expected: Content) -> bool:
    return all(found[name].equals(frame) for name, frame in expected.items())
