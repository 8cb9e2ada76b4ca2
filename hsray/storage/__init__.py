"""Where a sweep's runs lie: a folder that all nodes see, or an object store that every run is mirrored to.

With a store (`--runs s3://bucket/prefix`) the driver and every run work in folders of their own machine. A run fetches
what the store has of it before it starts, and sends what it writes; its result last.
"""

from __future__ import annotations

from hsray.storage.address import is_remote
from hsray.storage.copies import local_checkpoint, local_runs
from hsray.storage.driver import home
from hsray.storage.place import Home
from hsray.storage.worker import attached, has_ended, reported

__all__ = ["Home", "attached", "has_ended", "home", "is_remote", "local_checkpoint", "local_runs", "reported"]
