"""The page: the summary, the sections one after the other, in a template that holds the style."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from importlib.metadata import version
from importlib.resources import files
from string import Template

import polars as pl

from hsray.report import byclass, records, sections, summary
from hsray.report.absent import missing_sentence
from hsray.report.content import Content

SECTIONS: tuple[tuple[str, str, str, Callable[[Content], str]], ...] = (
    ("scores", "Scores", "On the test set, which every final reads once.", sections.scores),
    ("labels", "Labels", "What more training images buy.", sections.curves),
    ("pairs", "Strategies against each other", "On shared seeds and images.", sections.pairwise),
    ("classes", "Classes", "Which classes a strategy finds, at the largest fraction.", byclass.classes),
    ("confusions", "Confusions", "What is taken for what, at the largest fraction.", byclass.confusions),
    ("examples", "Predictions", "Test data that no training has seen.", byclass.examples),
    ("cost", "Cost", "What the scores took.", sections.cost),
    ("missing", "Missing and failed", "What stands in no table, and what else is to be known.", records.missing),
    ("made", "How it was made", "Enough to do it again.", records.made_with),
)


def page(content: Content) -> str:
    """The whole report as one HTML file that asks nothing of a network. All words of runs are escaped."""
    template = Template(files("hsray.report").joinpath("page.html").read_text("utf-8"))
    links = [f'<a href="#{anchor}">{title}</a>' for anchor, title, _, _ in SECTIONS]
    body = [
        f'<section id="{anchor}"><h2>{title}</h2><p class="lead">{lead}</p>\n{make(content)}\n</section>'
        for anchor, title, lead, make in SECTIONS
    ]
    return template.substitute(
        title=escape(content.experiment),
        facts=_facts(content),
        links="".join(links),
        summary=_summary(content),
        sections="\n".join(body),
        version=escape(version("hsray")),
        made=escape(content.made),
        source=escape(content.source),
    )


def _summary(content: Content) -> str:
    groups: list[tuple[str, list[str]]] = [
        ("Which strategy", summary.best_sentences(content.cells, content.pairs)),
        ("How many labels", summary.label_sentences(content.cells)),
        ("How sure", [sentence for sentence in [summary.seeds_sentence(content.cells)] if sentence]),
        ("At what cost", [summary.cost_sentence(content.runs)]),
        ("What is missing", [missing_sentence(content.runs, content.cells, content.experiment_file)]),
    ]
    if not len(content.cells):
        fronts = "The fraction is searched: the fronts below say which validation score takes how many labels."
        none = "No cell has a complete final yet, so there is nothing to compare."
        groups[0] = ("Which strategy", [fronts if len(content.board.fronts) else none])
    return "\n".join(
        f"<div><h3>{heading}</h3><ul>{''.join(f'<li>{_unbroken(one)}</li>' for one in sentences)}</ul></div>"
        for heading, sentences in groups
        if sentences
    )


def _facts(content: Content) -> str:
    runs, usable = content.runs, content.runs.filter(pl.col("problem").is_null())
    tasks = ", ".join(sorted(usable["task"].drop_nulls().unique().to_list()))
    counts = [
        (usable["dataset"].n_unique(), "dataset"),
        (len(content.strategies), "strategy"),
        (content.cells.select("official", "fraction_percent").n_unique() if len(content.cells) else 0, "fraction"),
        (len(runs.filter(pl.col("kind") == "trial")), "trial"),
        (len(runs.filter(pl.col("kind") == "final")), "final"),
    ]
    facts = [f"<li>{escape(tasks)}</li>"] if tasks else []
    for count, name in counts:
        plural = name if count == 1 else name.removesuffix("y") + "ies" if name.endswith("y") else name + "s"
        facts.append(f"<li><b>{count:,}</b> {plural}</li>")
    return "".join([*facts, f"<li>{escape(content.made)}</li>"])


def _unbroken(sentence: str) -> str:
    """Escaped, and no line ends between a figure and its unit."""
    return escape(sentence).replace(" %", "\N{NO-BREAK SPACE}%")
