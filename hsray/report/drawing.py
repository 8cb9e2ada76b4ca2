"""Charts as SVG that needs no script, dark and light: a colour of the charts becomes a variable of the page's style."""

from __future__ import annotations

import re
from html import escape
from typing import Any

from hsray.leaderboard import chartstyle

VARIABLES = {
    **{colour: f"var(--mark-{number})" for number, colour in enumerate(chartstyle.COLOURS)},
    chartstyle.INK: "var(--ink)",
    chartstyle.MUTED: "var(--muted)",
    chartstyle.RULE: "var(--rule)",
    chartstyle.ACCENT: "var(--accent)",
}
_COLOUR = re.compile("|".join(f'"{re.escape(colour)}"' for colour in VARIABLES))
_OPENING = re.compile(r"<svg [^>]*?width=\"([\d.]+)\" height=\"[\d.]+\" viewBox=\"([^\"]*)\">")


def svg(chart: Any, alt: str) -> str:
    """The chart as an `<svg>` element; `alt` is what those read who do not see it."""
    import vl_convert

    text = vl_convert.vegalite_to_svg(_spec(chart))
    text = _COLOUR.sub(lambda found: f'"{VARIABLES[found[0][1:-1]]}"', text)
    width, box = _OPENING.search(text).groups()  # type: ignore[union-attr]
    opening = (
        f'<svg role="img" aria-label="{escape(alt)}" viewBox="{box}" style="max-width:{float(width) * 1.15:.0f}px">'
    )
    return _OPENING.sub(opening.replace("\\", r"\\"), text, count=1)


def figure(chart: Any, alt: str, caption: str, *, above: bool = False) -> str:
    """The chart in a `<figure>` with its caption below, or above."""
    parts = [svg(chart, alt), f"<figcaption>{escape(caption)}</figcaption>"]
    return f'<figure class="chart">{"".join(reversed(parts) if above else parts)}</figure>'


def _spec(chart: Any) -> dict[str, Any]:
    """The chart without the labels of single marks: the whole has one."""
    spec = chartstyle.specification(chart)
    spec.setdefault("config", {})["aria"] = False
    return spec
