"""Live: how far the sweeps of the runs folder are, what is under way, and how trials learn."""

from __future__ import annotations

import time
from html import escape
from typing import TYPE_CHECKING

import polars as pl
import streamlit as st

from hsray.dashboards.settings import settings
from hsray.dashboards.sheets import key
from hsray.dashboards.sweeps import Found, find_sweeps, learning_curves, watch
from hsray.dashboards.words import fault, plain
from hsray.sweep.upkeep.words import STATES, ago, total

if TYPE_CHECKING:
    import altair as alt

    from hsray.sweep.upkeep.status import CellStatus, Counts, SweepStatus

EVERY = 3.0
METRICS = {
    "val/jaccard_macro": "validation Jaccard",
    "val/loss": "validation loss",
    "train/loss": "training loss",
    "val/accuracy_micro": "validation accuracy",
    "lr": "learning rate",
}
PERCENT = ("val/jaccard_macro", "val/accuracy_micro")
COLOURS = {
    "done": "#0072B2",
    "running": "#56B4E9",
    "failed": "#D55E00",
    "open": "#E69F00",
    "missing": "rgba(128, 128, 128, .25)",
}
MOST_CELLS = 200
MOST_LIVE = 30
MOST_UNREAD = 5


def page() -> None:
    st.title("Live")
    _view()


@st.fragment(run_every=EVERY)
def _view() -> None:
    told = settings()
    sweeps, unread = find_sweeps(told.runs_folder)
    if unread:
        more = "; …" if len(unread) > MOST_UNREAD else ""
        st.caption(plain(f"cannot be read and left out: {'; '.join(unread[:MOST_UNREAD])}{more} ({len(unread):,})"))
    if not sweeps:
        st.info(f"no sweep under `{told.runs}` yet; it appears here when one starts", icon=":material/hourglass_empty:")
        return
    named = {one.name: one for one in sweeps}
    name = st.selectbox(
        "Sweep", list(named), format_func=lambda name: _label(named[name]), key="sweep", bind="query-params"
    )
    watched = watch(told.runs, name)
    status = watched.latest()
    error = watched.error
    if error is not None:
        st.warning(fault(error), icon=":material/folder_off:")
    if status is None:
        if error is None:
            st.info(f"reading the folder … {watched.busy_for:.0f} s", icon=":material/sync:")
        return
    _figures(status)
    st.html(f'<div class="hsray">{_matrix(status)}</div>')
    _under_way(status)
    _curves(status)


def _label(sweep: Found) -> str:
    return f"{sweep.name} · running" if sweep.running else sweep.name


def _figures(status: SweepStatus) -> None:
    trials, finals = (total([getattr(one, kind) for one in status.cells]) for kind in ("trials", "finals"))
    scored = [one for one in status.cells if one.best is not None]
    best = max(scored, key=lambda one: one.best or 0.0, default=None)
    with st.container(horizontal=True):
        st.metric("Trials done", f"{trials.done:,} / {trials.planned:,}", border=True, width=150)
        st.metric("Finals done", f"{finals.done:,} / {finals.planned:,}", border=True, width=150)
        st.metric("Running now", f"{trials.running + finals.running:,}", border=True, width=150)
        st.metric("Failed", f"{trials.failed + finals.failed:,}", border=True, width=150)
        if best is not None and best.best is not None:
            st.metric("Best so far", f"{100 * best.best:.1f} %", border=True, width=150, help=plain(_name(best)))
    words = f"running: {status.driver}" if status.driver else "not running"
    if status.stopping and status.driver:
        words += "; its runs were asked to save and end"
    seen = f"; last sign of life {ago(time.time() - status.seen)} ago" if status.seen else ""
    older = f"; {status.older:,} runs of earlier definitions and attempts are not counted" if status.older else ""
    st.caption(plain(words + seen + older))


def _matrix(status: SweepStatus) -> str:
    """Trials and finals of every cell by state, as `hsray status` counts them."""
    states = [state for state in STATES if state in ("done", "missing") or _any(status, state)]
    heads = "".join(f"<th>{kind} {state}</th>" for kind in ("trials", "finals") for state in states)
    rows = []
    for one in status.cells[:MOST_CELLS]:
        cells = "".join(_counts(counts, states) for counts in (one.trials, one.finals))
        best = "–" if one.best is None else f"{100 * one.best:.1f} %"
        note = "" if one.where == "current" else f" ({one.where})"
        rows.append(f'<tr><th class="left">{escape(_name(one) + note)}</th>{cells}<td>{best}</td></tr>')
    if len(status.cells) > 1:
        sums = (total([getattr(one, kind) for one in status.cells]) for kind in ("trials", "finals"))
        cells = "".join(_counts(counts, states) for counts in sums)
        rows.append(f'<tr><th class="left">all</th>{cells}<td></td></tr>')
    left_out = len(status.cells) - MOST_CELLS
    more = f"<ul><li>{left_out:,} more cells are in the sums alone</li></ul>" if left_out > 0 else ""
    legend = key({state: COLOURS[state] for state in states})
    return (
        f'<section><table aria-label="cells"><thead><tr><th class="left">cell</th>{heads}<th>best val. Jaccard</th>'
        f"</tr></thead><tbody>{''.join(rows)}</tbody></table></section>{more}{legend}"
    )


def _any(status: SweepStatus, state: str) -> bool:
    return any(getattr(counts, state) for one in status.cells for counts in (one.trials, one.finals))


def _counts(counts: Counts, states: list[str]) -> str:
    shares = [(state, getattr(counts, state)) for state in STATES if state not in ("missing", "open")]
    whole = max(1, counts.planned)
    parts = "".join(
        f'<i style="background:{COLOURS[state]};width:{100 * n / whole:.1f}%"></i>' for state, n in shares if n
    )
    bar = f'<span class="bar">{parts}</span>'
    cells = []
    for state in states:
        number = getattr(counts, state)
        cells.append(f"<td>{bar}{number}/{counts.planned}</td>" if state == "done" else f"<td>{number or '·'}</td>")
    return "".join(cells)


def _under_way(status: SweepStatus) -> None:
    live = [(one, run) for one in status.cells for run in one.live]
    if not live:
        return
    st.subheader("Under way")
    for one, run in live[:MOST_LIVE]:
        score = "" if run.score is None else f" · {100 * run.score:.1f} %"
        epochs = f"epoch {run.epoch} of {run.epochs or '?'}"
        text = f"{_name(one)} · {run.name} · {epochs}{score} · seen {ago(time.time() - run.seen)} ago"
        st.progress(min(1.0, run.epoch / run.epochs) if run.epochs else 0.0, text=plain(text))
    if len(live) > MOST_LIVE:
        st.caption(f"and {len(live) - MOST_LIVE:,} more")


def _curves(status: SweepStatus) -> None:
    cells = {one.cell: one for one in status.cells if one.cell}
    if not cells:
        return
    st.subheader("Learning curves")
    left, right = st.columns([3, 2])
    cell = left.selectbox("Cell", list(cells), format_func=lambda id: _name(cells[id]), key="cell", bind="query-params")
    metric = right.selectbox(
        "Metric", list(METRICS), format_func=lambda name: METRICS[name], key="curve", bind="query-params"
    )
    running = {run.name for run in cells[cell].live}
    found = learning_curves(status.folder / "cells" / cell, metric, running)
    if not len(found.frame):
        st.caption("no trial of this cell has logged this metric yet")
        return
    st.altair_chart(_chart(found.frame, metric), width="stretch")
    if found.left_out:
        st.caption(f"{found.left_out:,} more trials are not drawn")


def _chart(curves: pl.DataFrame, metric: str) -> alt.LayerChart | alt.FacetChart:
    import altair as alt

    percent = metric in PERCENT
    drawn = curves.with_columns((100 * pl.col("value")).alias("value")) if percent else curves
    kinds = ["best", "running", "other"]
    here = [kind for kind in kinds if kind in drawn["is"].unique()]
    colours = dict(zip(kinds, ("#0072B2", "#D55E00", "#9a9a9a"), strict=True))
    dashes = dict(zip(kinds, ([1, 0], [5, 3], [1, 0]), strict=True))
    base = alt.Chart(drawn).encode(
        x=alt.X("epoch:Q", title="epoch", axis=alt.Axis(tickMinStep=1, format="d")),
        y=alt.Y("value:Q", title=METRICS[metric] + (" (%)" if percent else ""), scale=alt.Scale(zero=False)),
        color=alt.Color("is:N", title=None, scale=alt.Scale(domain=here, range=[colours[one] for one in here])),
        detail="trial:N",
        tooltip=["trial", "epoch", alt.Tooltip("value:Q", format=".4g")],
    )
    dash = alt.StrokeDash("is:N", title=None, scale=alt.Scale(domain=here, range=[dashes[one] for one in here]))
    lines = base.mark_line(strokeWidth=1.8).encode(strokeDash=dash)
    lone = drawn.filter(pl.len().over("trial") == 1)  # one epoch is no line
    dots = base.mark_point(filled=True, size=40, opacity=1).properties(data=lone)
    return alt.layer(lines, *([dots] if len(lone) else [])).properties(height=320)


def _name(cell: CellStatus) -> str:
    return "  ".join(map(str, cell.axes.values()))
