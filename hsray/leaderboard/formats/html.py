"""One HTML file that needs nothing beside it: a table element for every sheet, light and dark."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape as entities

from hsray.leaderboard.formats.cells import Cell, columns_of_cells, heading
from hsray.leaderboard.sheet import Column, Sheet

STYLE = """
:root { color-scheme: light dark; --ink: #1f2328; --soft: #57606a; --line: #d0d7de; --page: #ffffff; --row: #f6f8fa; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6edf3; --soft: #9da7b1; --line: #3d444d; --page: #0d1117; --row: #161b22; }
}
body { font: 14px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--page); margin: 0 auto;
  padding: 1.25rem; max-width: 90rem; }
section { margin: 0 0 2rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
caption { text-align: left; font-weight: 600; padding: 0 0 .4rem; white-space: nowrap; }
th, td { padding: .3rem .45rem; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { padding-left: .25rem; }
thead th { border-top: 2px solid var(--ink); border-bottom: 1px solid var(--line); font-weight: 600; }
tbody tr:nth-child(even) { background: var(--row); }
tbody tr:last-child > * { border-bottom: 2px solid var(--ink); }
tbody th { font-weight: 500; }
.left { text-align: left; }
.spread { color: var(--soft); }
u { text-underline-offset: .2em; }
sup { line-height: 0; }
ul { color: var(--soft); font-size: .875rem; padding-left: 1.1rem; max-width: 75ch; overflow-wrap: anywhere; }
@media print { body { font-size: 10pt; padding: 0; } section { break-inside: avoid; } .scroll { overflow: visible; } }
"""


def as_html(sheets: Sequence[Sheet]) -> str:
    title = escape(next((sheet.title for sheet in sheets if sheet.title), "hsray leaderboard"))
    body = "\n".join(section(sheet) for sheet in sheets)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>"
    )


def section(sheet: Sheet) -> str:
    """The table element of one sheet with its notes, to stand in any page."""
    lines = ["<section>"]
    if sheet.columns:
        lines.append('<div class="scroll" tabindex="0">')
        lines += ["<table>", f"<caption>{escape(sheet.title)}</caption>"] if sheet.title else ["<table>"]
        heads = "".join(f'<th scope="col"{_side(one)}>{escape(heading(one))}</th>' for one in sheet.columns)
        lines += [f"<thead><tr>{heads}</tr></thead>", "<tbody>"]
        lines += [_row(sheet, cells) for cells in zip(*columns_of_cells(sheet), strict=True)]
        lines += ["</tbody>", "</table>", "</div>"]
    elif sheet.title:
        lines.append(f"<p>{escape(sheet.title)}</p>")
    if sheet.notes:
        lines += ["<ul>", *(f"<li>{escape(note)}</li>" for note in sheet.notes), "</ul>"]
    return "\n".join([*lines, "</section>"])


def _row(sheet: Sheet, cells: Sequence[Cell]) -> str:
    parts = []
    for number, (column, cell) in enumerate(zip(sheet.columns, cells, strict=True)):
        opening, closing = ('th scope="row"', "th") if number == 0 else ("td", "td")
        parts.append(f"<{opening}{_side(column)}>{_dressed(cell)}</{closing}>")
    return f"<tr>{''.join(parts)}</tr>"


def _dressed(cell: Cell) -> str:
    value = escape(cell.value)
    value = {1: f"<strong>{value}</strong>", 2: f"<u>{value}</u>"}.get(cell.place, value)
    if len(cell.halves) == 1:
        value += f' <span class="spread">± {cell.halves[0]}</span>'
    elif cell.halves:
        value += f' <span class="spread">+{cell.halves[0]} −{cell.halves[1]}</span>'
    return value + (f"<sup>{escape(cell.mark)}</sup>" if cell.mark else "")


def _side(column: Column) -> str:
    return ' class="left"' if column.align == "left" else ""


def escape(text: str) -> str:
    """As HTML shows it; control characters, which it may not hold, as Python writes them."""
    return entities("".join(one if one.isprintable() or one.isspace() else repr(one)[1:-1] for one in text))
