"""The last sections: what is missing or failed, the experiment file, the manifests."""

from __future__ import annotations

import json
from html import escape

import polars as pl

from hsray.leaderboard.sheet import Column, Sheet
from hsray.report.absent import missing_sentence
from hsray.report.content import Content
from hsray.report.pieces import empty, folded
from hsray.report.tables import notes_html, sheet_html


def missing(content: Content) -> str:
    """Everything that is not in a table, with its reason; failed runs by cell."""
    failed = content.runs.filter(pl.col("state").is_in(["failed", "killed"]) & ~pl.col("superseded"))
    said = missing_sentence(content.runs, content.cells, content.experiment_file)
    parts = [f"<p>{escape(said)}</p>", notes_html(content.notes)]
    if len(failed):
        counted = failed.group_by("cell_name", "kind", "state", pl.col("reason").fill_null("no reason given"))
        columns = (
            Column("cell_name", "cell", align="left"),
            Column("kind", "kind", align="left"),
            Column("state", "state", align="left"),
            Column("runs", "runs"),
            Column("reason", "reason", align="left"),
        )
        rows = counted.len("runs").sort("cell_name", "kind", "state", "reason")
        parts.append(sheet_html(Sheet("failed and killed runs", rows, columns)))
    if content.board.notes:
        parts += ["<h3>also to be known</h3>", notes_html(content.board.notes)]
    return "\n".join(parts)


def made_with(content: Content) -> str:
    """The experiment file and the manifests, folded."""
    if content.experiment_file is None:
        file = empty("the experiment file was not logged with these runs")
    else:
        file = folded("the experiment file", f"<pre>{escape(content.experiment_file)}</pre>")
    if not content.manifests:
        return file + empty("no final left a manifest")
    parts = [file]
    for number, one in enumerate(content.manifests):
        said = "versions, machine, code, data" + (" (of the last finals)" if number else "")
        facts = {name: value for name, value in one.items() if name != "packages"}
        rows = "".join(f"<dt>{escape(name)}</dt><dd>{escape(_words(value))}</dd>" for name, value in facts.items())
        packages = one.get("packages")
        listed = (
            ", ".join(f"{name} {version}" for name, version in packages.items()) if isinstance(packages, dict) else "–"
        )
        parts.append(folded(said, f"<dl>{rows}<dt>packages</dt><dd>{escape(listed)}</dd></dl>"))
    return "\n".join(parts)


def _words(value: object) -> str:
    if value is None:
        return "not known"
    if isinstance(value, dict) and value:
        return "; ".join(f"{name}: {_words(one)}" for name, one in value.items())
    if isinstance(value, list):
        return "; ".join(map(_words, value)) or "none"
    return value if isinstance(value, str) else json.dumps(value)
