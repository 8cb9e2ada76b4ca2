"""LaTeX tables for \\input: booktabs, best bold, second underlined, intervals as ±, footnotes below."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from hsray.leaderboard.formats.cells import Cell, columns_of_cells, heading
from hsray.leaderboard.sheet import Sheet

HEAD = "% needs \\usepackage{booktabs}"
SPECIAL = {
    "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "&": r"\&", "#": r"\#", "%": r"\%", "_": r"\_",
    "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
    "|": r"\textbar{}", '"': "''", "[": "{[}", "]": "{]}", "‡": r"\(^{\ddagger}\)",
    "†": r"\(^{\dagger}\)", "±": r"\(\pm\)", "−": r"\(-\)", "×": r"\(\times\)", "·": r"\(\cdot\)",
    "≥": r"\(\geq\)", "≤": r"\(\leq\)", "–": "--", "—": "---", "…": r"\dots{}",
    "→": r"\(\rightarrow\)", "’": "'", "‘": "`", "“": "``", "”": "''",
    "Δ": r"\(\Delta\)", "σ": r"\(\sigma\)", "µ": r"\(\mu\)", "μ": r"\(\mu\)",
}  # fmt: skip


def as_latex(sheets: Sequence[Sheet]) -> str:
    return "\n\n".join([HEAD, *(_table(sheet) for sheet in sheets)])


def _table(sheet: Sheet) -> str:
    """A float of its own. Without columns there are the notes alone, which LaTeX takes as a paragraph."""
    notes = [rf"  \par\footnotesize {escaped(note)}" for note in sheet.notes]
    lines = [r"\begin{table}[htbp]", r"  \centering"]
    lines += [rf"  \caption{{{escaped(sheet.title)}}}"] if sheet.title else []
    if sheet.columns:
        layout = "".join("l" if column.align == "left" else "r" for column in sheet.columns)
        lines += [rf"  \begin{{tabular}}{{@{{}}{layout}@{{}}}}", r"    \toprule"]
        lines += [_row(escaped(heading(column)) for column in sheet.columns), r"    \midrule"]
        lines += [_row(map(_dressed, cells)) for cells in zip(*columns_of_cells(sheet), strict=True)]
        lines += [r"    \bottomrule", r"  \end{tabular}"]
    if notes:
        lines += [r"  \par\smallskip\raggedright", *notes]
    return "\n".join([*lines, r"\end{table}"])


def _row(cells) -> str:
    return f"    {' & '.join(cells)} \\\\"


def _dressed(cell: Cell) -> str:
    value = escaped(cell.value)
    value = {1: rf"\textbf{{{value}}}", 2: rf"\underline{{{value}}}"}.get(cell.place, value)
    if len(cell.halves) == 1:
        value += rf" \(\pm\) {cell.halves[0]}"
    elif cell.halves:
        value += rf"\(^{{+{cell.halves[0]}}}_{{-{cell.halves[1]}}}\)"
    return value + escaped(cell.mark)


def escaped(text: str) -> str:
    """As LaTeX prints it. What pdflatex's fonts lack is written without its accents or by its number."""
    return "".join(SPECIAL.get(one) or _plain(one) for one in " ".join(text.split()))


def _plain(one: str) -> str:
    if one.isascii() or "À" <= one <= "ÿ":
        return one if one.isprintable() else f"U+{ord(one):04X}"
    bare = unicodedata.normalize("NFKD", one).encode("ascii", "ignore").decode()
    return "".join(SPECIAL.get(part, part) for part in bare) or f"U+{ord(one):04X}"
