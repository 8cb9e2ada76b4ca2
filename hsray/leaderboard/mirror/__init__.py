"""MLflow's runs in Parquet: read from any number of stores and servers, kept in a folder, asked lazily by polars."""

from __future__ import annotations

from hsray.leaderboard.mirror.address import source_name
from hsray.leaderboard.mirror.mirror import Mirror
from hsray.leaderboard.mirror.sync import Synced, sync

__all__ = ["Mirror", "Synced", "source_name", "sync"]
