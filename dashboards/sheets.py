"""Tables of the pages: every one is a Sheet, shown as HTML that may scroll on its own, and saved as CSV or LaTeX."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from html import escape

import streamlit as st

from hsray.leaderboard.formats.html import section
from hsray.leaderboard.sheet import Sheet, render_sheets

MOST_ROWS = 300  # more are cut off, and that is said

STYLE = """
.stMainBlockContainer { padding-top: 4.2rem; padding-bottom: 2rem; }
.stMainBlockContainer h1 { font-size: 1.7rem; padding: 0 0 .3rem; }
.stMainBlockContainer h3 { font-size: 1.15rem; padding: .6rem 0 0; }
@media (max-width: 640px) { .stMainBlockContainer { padding-left: 1rem; padding-right: 1rem; } }
.hsray { overflow-x: auto; font-size: .9rem; }
.hsray section { overflow-x: auto; margin: 0; }
.hsray table { border-collapse: collapse; font-variant-numeric: tabular-nums; border: 0; margin: 0; }
.hsray caption { text-align: left; font-weight: 600; padding: 0 0 .4rem; color: inherit; white-space: nowrap; }
.hsray th, .hsray td { padding: .3rem .7rem; text-align: right; white-space: nowrap; border: 0; color: inherit; }
.hsray th:first-child, .hsray td:first-child { padding-left: .25rem; }
.hsray thead th { border-top: 2px solid currentColor; border-bottom: 1px solid rgba(128, 128, 128, .55);
  font-weight: 600; vertical-align: bottom; }
.hsray tbody tr:nth-child(even) { background: rgba(128, 128, 128, .09); }
.hsray tbody tr:last-child > * { border-bottom: 2px solid currentColor; }
.hsray tbody th { font-weight: 500; }
.hsray .left { text-align: left; }
.hsray .spread { opacity: .8; }
.hsray u { text-underline-offset: .2em; }
.hsray ul { opacity: .85; font-size: .85rem; padding-left: 1.1rem; max-width: 85ch; overflow-wrap: anywhere;
  margin: .6rem 0 0; }
.hsray .bar { display: inline-flex; width: 6.5rem; height: .7rem; margin-right: .5rem; vertical-align: -1px;
  background: rgba(128, 128, 128, .25); border-radius: 2px; overflow: hidden; }
.hsray .bar i { height: 100%; }
.hsray .key { display: flex; flex-wrap: wrap; gap: .1rem 1rem; margin: .5rem 0 0; font-size: .85rem; }
.hsray .key span { display: inline-flex; align-items: center; gap: .35rem; }
.hsray .key i { width: .75rem; height: .75rem; border-radius: 2px; flex: none;
  border: 1px solid rgba(128, 128, 128, .5); }
"""


def key(entries: dict[str, str]) -> str:
    """A legend of colours by what they stand for, as HTML."""
    parts = "".join(
        f'<span><i style="background:{colour}"></i>{escape(name)}</span>' for name, colour in entries.items()
    )
    return f'<p class="key">{parts}</p>'


def show(sheet: Sheet, most: int = MOST_ROWS) -> None:
    """The sheet as a table with its notes below."""
    left_out = len(sheet.frame) - most
    if left_out > 0:
        note = f"the first {most:,} of {len(sheet.frame):,} rows are shown; filter, or download all"
        sheet = replace(sheet, frame=sheet.frame.head(most), notes=(note, *sheet.notes))
    st.html(f'<div class="hsray">{section(sheet)}</div>')


def downloads(sheets: list[Sheet], name: str) -> None:
    """Buttons that save the sheets as CSV, LaTeX and Markdown."""
    kinds = {
        "CSV": ("csv", "csv", "text/csv"),
        "LaTeX": ("latex", "tex", "application/x-tex"),
        "Markdown": ("markdown", "md", "text/markdown"),
    }
    with st.container(horizontal=True):
        for label, (kind, ending, mime) in kinds.items():
            st.download_button(
                label,
                data=partial(render_sheets, sheets, kind),  # not before somebody wants it
                file_name=f"{name}.{ending}",
                mime=mime,
                icon=":material/download:",
                on_click="ignore",
                key=f"{name}-{kind}",
            )
