"""MLflow, written by the driver alone, from the run folders."""

from __future__ import annotations

from hsray.tracking.manifest import manifest
from hsray.tracking.owner import Owner
from hsray.tracking.tracker import Tracker

__all__ = ["Owner", "Tracker", "manifest"]
