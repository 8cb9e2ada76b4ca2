"""A Ray for this machine alone: what it starts listens on the loopback address and asks for a token."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Any

import ray
from ray._private import ray_constants


def start_local_ray(**options: Any) -> None:
    """`ray.init` of a new Ray whose every port is bound to 127.0.0.1; on other machines nobody can reach it.

    Ray turns token authentication on for it by itself, unless RAY_AUTH_MODE says otherwise.
    """
    # Ray binds to all addresses and takes back a `_node_ip_address` of 127.0.0.1. Its own switch for laptops is read
    # from the environment when it is imported, which may have been before us.
    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        ray.init(address="local", **options)
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before
    _hide(Path.home() / ".ray" / "auth_token")


def _hide(token: Path) -> None:
    """Ray writes its token so that everybody on the machine may read it."""
    if token.exists() and token.stat().st_uid == os.getuid():
        token.chmod(stat.S_IRUSR | stat.S_IWUSR)
