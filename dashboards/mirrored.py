"""The mirrored runs, brought up to date in the background while somebody looks."""

from __future__ import annotations

import time
from pathlib import Path

import polars as pl
import streamlit as st

from hsray.dashboards.background import Background
from hsray.dashboards.settings import settings
from hsray.dashboards.words import plain
from hsray.digest import digest
from hsray.leaderboard.chosen import Chosen, choose
from hsray.leaderboard.mirror import Mirror, Synced, sync
from hsray.leaderboard.mirror.manifest import NAME, read_manifest
from hsray.leaderboard.selection import experiments_of

EVERY = 10.0  # seconds between two syncs
KEEP_UP = 3.0  # seconds between two looks for what the last sync brought


@st.cache_resource(show_spinner=False)
def syncing(folder: str, uri: str) -> Background[Synced]:
    """The sync of this server."""
    return Background(lambda: sync(Path(folder), uri), EVERY)


def runs() -> pl.DataFrame | None:
    """All mirrored runs (columns of `hsray.leaderboard.runs.SCHEMA` and more); None while the first sync goes on.

    A failed sync is said, and the runs are those of the last good one.
    """
    told = settings()
    work = syncing(told.mirror, told.uri)
    work.latest()
    now = state()
    found = _read(told.mirror, now) if now else None
    error = work.error
    if error is not None:
        since = "these are the runs of the last time" if found is not None else "there is nothing to show yet"
        st.warning(plain(f"{error.what}; {since}"), icon=":material/sync_problem:")
    elif found is None:
        st.info(f"reading MLflow for the first time … {work.busy_for:.0f} s", icon=":material/sync:")
    _keep_up(now, str(error or ""), time.monotonic())
    return found


def some_runs() -> pl.DataFrame | None:
    """As `runs`, but None, which is said, also where MLflow holds none."""
    found = runs()
    if found is not None and not len(found):
        st.info("MLflow holds no runs yet", icon=":material/hourglass_empty:")
        return None
    return found


@st.fragment(run_every=KEEP_UP)
def _keep_up(shown: str, said: str, since: float) -> None:
    """Go on syncing while the page is open, and show it anew once the mirror or the fault is another."""
    if time.monotonic() - since < KEEP_UP / 2:  # the page's own run
        return
    told = settings()
    work = syncing(told.mirror, told.uri)
    work.latest(wait=0)
    if state() != shown or str(work.error or "") != said or (not shown and work.error is None):
        st.rerun()


def of_experiment(experiment: str) -> pl.DataFrame:
    """The mirrored runs of one experiment; after `runs` has answered."""
    return _read(settings().mirror, state()).filter(pl.col("experiment") == experiment)


def chosen(experiment: str) -> Chosen:
    """The runs of an experiment that count; after `runs` has answered."""
    return _choose(settings().mirror, state(), experiment)


def finals(experiment: str) -> pl.DataFrame:
    """The complete finals of an experiment that count, as `Chosen.runs` has them."""
    return chosen(experiment).runs.filter(pl.col("kind") == "final", pl.col("state") == "complete")


def mirror() -> Mirror:
    """For artefacts: kept copies, fetched from MLflow the first time."""
    return _mirror(settings().mirror, settings().uri, state())


@st.cache_resource(max_entries=1, show_spinner=False)
def _mirror(folder: str, uri: str, state: str) -> Mirror:
    """Opened once for what it holds: a page asks for several files, and each opening looks through all runs."""
    return Mirror(Path(folder), uri=uri)


def state() -> str:
    """Another one when the mirrored runs are others, not at every sync; empty where there is no mirror."""
    path = settings().mirror_folder / NAME
    return _names(str(path.parent), path.stat().st_mtime_ns) if path.is_file() else ""


@st.cache_data(max_entries=4, show_spinner=False)
def _names(folder: str, written: int) -> str:
    manifest = read_manifest(Path(folder))
    return digest(sorted(manifest.names())) if manifest else ""


@st.cache_resource(max_entries=1, show_spinner=False)
def _read(folder: str, state: str) -> pl.DataFrame:
    return experiments_of(Mirror(Path(folder), offline=True), ())[0]


@st.cache_resource(max_entries=8, show_spinner=False)
def _choose(folder: str, state: str, experiment: str) -> Chosen:
    return choose(of_experiment(experiment))
