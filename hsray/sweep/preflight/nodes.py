"""What a node of the cluster sees of data, weights and the folders that all share. Light: it runs on every node."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass, field
from pathlib import Path

from hsray.datasets import SPLITS, CubeStore, open_store
from hsray.errors import HsrayError

NFS_SECONDS = 5.0  # so long a network file system may hide what another machine wrote
MEND_SHARED = "put it on a file system that all nodes mount at the same place (NFS or alike), and name that"


@dataclass(frozen=True)
class Expected:
    """What the driver sees: datasets by their folder (fingerprint, sizes of files), sizes of weights, shared folders
    with what was written there."""

    stores: dict[str, tuple[str, dict[str, int]]] = field(default_factory=dict)
    weights: dict[str, int] = field(default_factory=dict)
    nonces: dict[str, str] = field(default_factory=dict)


def sizes(store: CubeStore) -> dict[str, int]:
    """Of the files of a dataset, by name."""
    return {path.name: path.stat().st_size for path in (store.file(split) for split in SPLITS)}


def look(expected: Expected, node: str) -> list[tuple[str, str, str]]:
    """On a node: what is wrong (what, where, what to do), and a file of its own beside every nonce that it can read."""
    found = []
    for folder, (fingerprint, files) in expected.stores.items():
        try:
            store = open_store(folder)
            if store.fingerprint != fingerprint or sizes(store) != files:
                found.append(("a dataset is another one on a node", folder, "bring the same files to all nodes"))
        except (HsrayError, OSError) as error:
            reason = error.what if isinstance(error, HsrayError) else error.strerror
            found.append((f"a dataset cannot be opened on a node: {reason}", folder, MEND_SHARED))
    for path, size in expected.weights.items():
        if not Path(path).is_file() or Path(path).stat().st_size != size:
            found.append(("weights are not on a node, or are others there", path, MEND_SHARED))
    for path, nonce in expected.nonces.items():
        try:
            if Path(path).read_text("utf-8") != nonce:
                found.append(("a folder is another one on a node", str(Path(path).parent), MEND_SHARED))
            else:
                Path(f"{path}.{node}").write_text(nonce, "utf-8")
        except OSError as error:
            folder = str(Path(path).parent.parent)
            found.append((f"a folder is not shared with a node: {error.strerror or error}", folder, MEND_SHARED))
    return found


def answered(expected: Expected, node: str) -> list[tuple[str, str, str]]:
    """On the driver, afterwards: what it does not see of what the node wrote, though it waits a moment for it."""
    end = time.monotonic() + NFS_SECONDS
    missing = list(expected.nonces)
    while missing := [path for path in missing if not os.path.exists(f"{path}.{node}")]:
        if time.monotonic() > end:
            break
        time.sleep(0.2)
    return [("a node's files are not seen here", str(Path(path).parent.parent), MEND_SHARED) for path in missing]
