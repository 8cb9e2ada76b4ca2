"""How weights are named: references that are no paths, and paths."""

from __future__ import annotations

SHIPPED, PACKAGE, TIMM = "hsray:", "package:", "timm"


def is_named(reference: str) -> bool:
    """Shipped, in a package, or timm's own: the same everywhere. Everything else is a path."""
    return reference == TIMM or reference.startswith((SHIPPED, PACKAGE))
