"""Words from elsewhere (names in MLflow, faults, paths), which Streamlit would take for Markdown."""

from __future__ import annotations

import re

from hsray.errors import HsrayError


def plain(text: str) -> str:
    """Markdown that shows the text as it is: no picture is fetched, no link or formula is made of a name."""
    return re.sub(r"([!-/:-@\[-`{-~])", r"\\\1", text)


def fault(error: HsrayError) -> str:
    """What is wrong, where, and what to do, as Markdown."""
    return "\n\n".join(plain(part) for part in (error.what, error.where, error.do) if part)
