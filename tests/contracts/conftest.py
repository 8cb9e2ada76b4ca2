"""Contracts of models behind an extra are skipped where the extra is not installed."""

from __future__ import annotations

import importlib.util

import pytest

GEO = ("dofa", "copernicusfm", "panopticon")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    if importlib.util.find_spec("torchgeo") is None:
        for item in items:
            if any(name in item.name for name in GEO):
                item.add_marker(pytest.mark.skip(reason="needs the extra `geo`"))
