"""hsray: where should prior knowledge for hyperspectral imaging come from, and how many labels does it save?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"
__all__ = ["open_store", "strategy", "train"]

if TYPE_CHECKING:
    from hsray.datasets import open_store
    from hsray.single import train
    from hsray.strategies.strategy import strategy


def __getattr__(name: str) -> Any:
    # Looked up late: a command that only reads tables must not wait for torch.
    if name == "train":
        from hsray.single import train

        return train
    if name == "open_store":
        from hsray.datasets import open_store

        return open_store
    if name == "strategy":
        from hsray.strategies.strategy import strategy

        return strategy
    raise AttributeError(f"module 'hsray' has no attribute '{name}'")
