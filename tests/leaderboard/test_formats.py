"""What every format makes of a sheet: names that would break it, places, ties, intervals, footnote signs."""

from __future__ import annotations

import csv
import io
import json
import re
import shutil
import subprocess
from html.parser import HTMLParser
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hsray.errors import RequestError
from hsray.leaderboard.sheet import FORMATS, Column, Sheet, render_sheets, to_parquet

HOSTILE = [
    r"\input{/etc/passwd}", "a_b^c~d", "100 % & #1 $x$ {y}", "<script>alert('1')</script>", 'x" onload="y', "a|b",
    "**c**", "two\nlines", "\x1b[31mred", "‡ ± – é 漢 🙂", "[link](javascript:x)", "`code`", "\\", "", "-1", "</table>",
]  # fmt: skip
TEXTS = [one for one in FORMATS if one != "parquet"]


def sheet(names: list[str], values: list[float | None], **more: object) -> Sheet:
    frame = pl.DataFrame({"name": names, "value": values}, schema={"name": pl.String, "value": pl.Float64})
    columns = (Column("name", "name", align="left"), Column("value", "value", decimals=2, best="high", unit="%"))
    return Sheet("a title", frame, columns, **more)  # type: ignore[arg-type]


def marks(text: str, pattern: str) -> list[str]:
    return re.findall(pattern, text)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.opened: list[str] = []
        self.attributes: set[str] = set()
        self.words: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.opened.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.words.append(data)


def test_best_bold_second_underlined() -> None:
    one = sheet(["a", "b", "c", "d"], [50.0, 70.0, 60.0, None])
    latex, page = render_sheets([one], "latex"), render_sheets([one], "html")
    assert marks(latex, r"\\textbf\{(.*?)\}") == ["70.00"] and marks(latex, r"\\underline\{(.*?)\}") == ["60.00"]
    assert marks(page, "<strong>(.*?)</strong>") == ["70.00"] and marks(page, "<u>(.*?)</u>") == ["60.00"]
    assert marks(render_sheets([one], "markdown"), r"\*\*(\d.*?)\*\*") == ["70.00"]
    terminal = render_sheets([one], "table", colour=True)
    assert "\x1b[1m70.00" in terminal and "\x1b[4m60.00" in terminal and "d           –" in terminal
    assert "\x1b" not in render_sheets([one], "table")


def test_what_is_printed_alike_shares_a_place() -> None:
    latex = render_sheets([sheet(["a", "b", "c"], [70.004, 69.996, 1.0])], "latex")
    assert marks(latex, r"\\textbf\{(.*?)\}") == ["70.00", "70.00"] and r"\underline{1.00}" in latex


def test_low_is_best_where_it_is_said_and_unranked_rows_win_nothing() -> None:
    frame = pl.DataFrame({"s": ["a", "b", "c"], "hours": [3.0, 1.0, 2.0], "ranked": [True, False, True]})
    columns = (Column("s", "s", align="left"), Column("hours", "hours", decimals=1, best="low"))
    latex = render_sheets([Sheet("", frame, columns, ranked="ranked")], "latex")
    assert marks(latex, r"\\textbf\{(.*?)\}") == ["2.0"] and r"\underline{3.0}" in latex
    alone = render_sheets([Sheet("", frame.head(2), columns, ranked="ranked")], "latex")
    assert "textbf" not in alone and "underline" not in alone  # nothing to compare with


def test_intervals_are_shown_as_they_are() -> None:
    frame = pl.DataFrame({"v": [50.0, 50.0, 50.0], "low": [48.0, 47.0, None], "high": [52.0, 51.0, None]})
    one = Sheet("", frame, (Column("v", "v", decimals=1, ends=("low", "high")),))
    text, latex = render_sheets([one], "table"), render_sheets([one], "latex")
    assert [line.strip() for line in text.splitlines()[1:]] == ["50.0 ± 2.0", "50.0 +1.0 −3.0", "50.0"]
    assert r"50.0 \(\pm\) 2.0" in latex and r"50.0\(^{+1.0}_{-3.0}\)" in latex


def test_data_formats_hold_every_column_and_json_no_nan() -> None:
    frame = pl.DataFrame({"a": [1.123456789, float("nan")], "b": [[1, 2], None], "hidden": ["x", "y"]})
    one = Sheet("one", frame, (Column("a", "A"),))
    [table] = json.loads(render_sheets([one], "json"))["tables"]
    assert table["rows"] == [{"a": 1.123456789, "b": [1, 2], "hidden": "x"}, {"a": None, "b": None, "hidden": "y"}]
    rows = list(csv.DictReader(io.StringIO(render_sheets([one], "csv"))))
    assert rows[0] == {"a": "1.123456789", "b": "[1, 2]", "hidden": "x"}
    both = pl.read_parquet(io.BytesIO(to_parquet([one, Sheet("two", frame.select("hidden"), ())])))
    assert both["table"].to_list() == ["one", "one", "two", "two"] and both["hidden"].null_count() == 0
    assert pl.read_parquet(io.BytesIO(to_parquet([]))).height == 0


@pytest.mark.parametrize("format", TEXTS)
def test_hostile_names_break_no_format(format: str) -> None:
    one = sheet(HOSTILE, [float(number) for number in range(len(HOSTILE))], notes=tuple(HOSTILE))
    text = render_sheets([one], format)
    if format == "html":
        page = Tags()
        page.feed(text)
        assert set(page.opened) <= {
            "html", "head", "meta", "title", "style", "body", "main", "section", "table", "caption", "thead", "tr",
            "th", "tbody", "td", "strong", "u", "ul", "li", "div",
        }  # fmt: skip
        assert page.attributes <= {"lang", "charset", "name", "content", "scope", "class", "tabindex"}
        assert page.opened.count("table") == 1 and page.opened.count("tr") == 1 + len(HOSTILE)
        assert "<script>alert('1')</script>" in page.words and "http" not in text
    elif format == "markdown":
        rows = [line for line in text.splitlines() if line.startswith("|")]
        assert len(rows) == 2 + len(HOSTILE)
        assert {len(re.findall(r"(?<!\\)(?:\\\\)*\|", row)) for row in rows} == {3}
    elif format == "table":
        assert len(text.splitlines()) == 2 + len(HOSTILE) + 1 + len(HOSTILE) and "\x1b" not in text
    elif format == "csv":
        assert [row["name"] for row in csv.DictReader(io.StringIO(text))] == HOSTILE
    elif format == "json":
        assert [row["name"] for row in json.loads(text)["tables"][0]["rows"]] == HOSTILE


LATEX_WORDS = r"""\usepackage \begin \end \centering \caption \toprule \midrule \bottomrule \par \smallskip \raggedright
    \footnotesize \textbf \underline \textbackslash \textasciicircum \textasciitilde \textless \textgreater \textbar
    \ddagger \dagger \pm \times \cdot \geq \leq \dots \rightarrow \Delta \sigma \mu \( \) \{ \} \$ \& \# \% \_ \\"""


@settings(deadline=None, max_examples=60)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=4))
def test_latex_is_made_of_known_words_and_balanced(names: list[str]) -> None:
    """No name can start a command, close a group or a row, or hold what pdflatex cannot print."""
    for given_names in (names, HOSTILE):
        latex = render_sheets([sheet(given_names, [1.0] * len(given_names), notes=(given_names[0],))], "latex")
        assert set(re.findall(r"\\(?:[A-Za-z]+|.|\n)", latex)) <= set(LATEX_WORDS.split())
        bare = re.sub(r"\\.", "", latex, flags=re.DOTALL)
        assert bare.count("{") == bare.count("}") and not re.search(r"[#$^_~]", re.sub(r"[_^]\{", "", bare))
        assert latex.count("\n    ") == 5 + len(given_names) - 1 and latex.count("&") - latex.count(r"\&") == 1 + len(
            given_names
        )
        assert all(one.isascii() or "À" <= one <= "ÿ" for one in latex)


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="no pdflatex here")
def test_pdflatex_takes_it(tmp_path: Path) -> None:
    one = sheet(HOSTILE, [float(number) for number in range(len(HOSTILE))], notes=tuple(HOSTILE))
    document = r"\documentclass{article}\usepackage{booktabs}\begin{document}" + "\n%s\n" + r"\end{document}"
    (tmp_path / "table.tex").write_text(document % render_sheets([one], "latex"))
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "table.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:]


@settings(deadline=None, max_examples=40)
@given(st.integers(30, 200), st.integers(1, 12), st.lists(st.text("abc 漢é", max_size=30), min_size=1, max_size=4))
def test_a_table_fits_the_width_if_any_column_does_and_loses_none(width: int, count: int, names: list[str]) -> None:
    headings = [f"metric{number}" for number in range(count)]
    frame = pl.DataFrame({"name": names} | {heading: [12.345] * len(names) for heading in headings})
    columns = (Column("name", "name", align="left"), *(Column(one, one, decimals=2) for one in headings))
    text = render_sheets([Sheet("t", frame, columns)], "table", width=width)
    assert sorted(re.findall(r"metric\d+", text)) == sorted(headings)
    assert text.count("12.35") + text.count("12.34") == count * len(names)
    if max(map(len, names)) * 2 + 12 < width:
        assert all(len(line) <= width for line in text.splitlines())


def test_an_unknown_format_is_refused() -> None:
    with pytest.raises(RequestError, match="unknown format 'pdf'"):
        render_sheets([], "pdf")
    with pytest.raises(RequestError, match="parquet is no text"):
        render_sheets([], "parquet")
