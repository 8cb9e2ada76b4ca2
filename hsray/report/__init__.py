"""The report: one HTML file of an experiment that opens without a network. Imports neither torch nor ray."""

from __future__ import annotations

from hsray.report.content import Content, collect
from hsray.report.page import page

__all__ = ["Content", "collect", "page"]
