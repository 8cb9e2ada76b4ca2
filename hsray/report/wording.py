"""Figures and names in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

NAMED = 4  # more names than this are counted


def score_words(cell: dict[str, Any]) -> str:
    low, high = cell["jaccard_macro_low"], cell["jaccard_macro_high"]
    seeds = f"{cell['seeds']} seed{'' if cell['seeds'] == 1 else 's'}"
    ends = f"95 % interval {low:.2f} to {high:.2f}, ".replace("-", "−") if low is not None and high is not None else ""
    return f"{cell['jaccard_macro']:.2f} % mean Jaccard ({ends}{seeds})"


def listed(names: Sequence[str]) -> str:
    if len(names) > NAMED:
        return f"{', '.join(names[:NAMED])} and {len(names) - NAMED} more"
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def signed(value: float) -> str:
    return f"{value:+.2f}".replace("-", "−")


def is_or_are(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"


def p_words(p: float) -> str:
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def duration_words(seconds: float) -> str:
    if seconds >= 5400:
        return f"{seconds / 3600:.1f} hours"
    if seconds >= 90:
        return f"{seconds / 60:.0f} minutes"
    return "1 second" if round(seconds) == 1 else f"{seconds:.0f} seconds"
