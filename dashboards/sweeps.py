"""The sweeps of a runs folder: which there are, where they stand, and the learning curves of a cell's trials."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl
import streamlit as st

from hsray.dashboards.background import Background
from hsray.errors import HsrayError
from hsray.experiment import load_experiment
from hsray.runlog import EPOCHS, read_epochs, read_json
from hsray.sweep.control.lock import running_driver
from hsray.sweep.upkeep.status import SCORE, SweepStatus, sweep_status

KEPT = "experiment.yaml"  # the file as the sweep was last started
EVERY = 2.0  # seconds between two readings of a sweep's folder
MOST_CURVES = 40
MOST_POINTS = 120  # of one curve
CURVES = {"trial": pl.String, "epoch": pl.Int64, "value": pl.Float64, "is": pl.String}


@dataclass(frozen=True)
class Found:
    """A sweep of the runs folder. `changed` is the last time (seconds since 1970) that its cells were noted."""

    name: str
    running: bool
    changed: float


def find_sweeps(runs: Path) -> tuple[list[Found], list[str]]:
    """Running ones first, then the last that was started; and the folders that cannot be read, with the reason."""
    found, unread = [], []
    try:
        folders = sorted(runs.iterdir())
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{runs}: {error.strerror}"]
    for folder in folders:
        try:
            changed = (folder / KEPT).stat().st_mtime
            found.append(Found(folder.name, running_driver(folder) is not None, changed))
        except (FileNotFoundError, NotADirectoryError):  # no sweep
            continue
        except OSError as error:
            unread.append(f"{folder.name}: {error.strerror}")
    return sorted(found, key=lambda one: (not one.running, -one.changed, one.name)), unread


@st.cache_resource(max_entries=8, show_spinner=False)
def watch(runs: str, name: str) -> Background[SweepStatus]:
    """The state of a sweep, as `hsray status` has it, read anew every few seconds while somebody looks."""

    def read() -> SweepStatus:
        try:
            return sweep_status(load_experiment(Path(runs) / name / KEPT), Path(runs))
        except OSError as error:  # a folder that is being written, or not ours to read
            raise HsrayError(f"cannot read: {error.strerror}", where=str(error.filename)) from error

    return Background(read, EVERY)


@dataclass(frozen=True)
class Curves:
    """`frame`: trial, epoch, value, and what the trial `is` (best, running, other). `left_out`: trials not shown."""

    frame: pl.DataFrame
    left_out: int


def learning_curves(cell: Path, metric: str, running: set[str]) -> Curves:
    """The curves of a cell's trials by the metric's name in `epochs.jsonl`: the best, those under way, some others."""
    trials = sorted(path for path in cell.glob("trial-*") if (path / EPOCHS).is_file())
    scored = [(_last(path), path) for path in trials]
    ranked = [path for _, path in sorted(scored, key=lambda pair: (pair[0] is not None, pair[0] or 0.0), reverse=True)]
    best = ranked[0].name if ranked else ""
    ranked.sort(key=lambda path: path.name not in running)  # stable: those under way come first
    rows = []
    for path in ranked[:MOST_CURVES]:
        kind = "best" if path.name == best else "running" if path.name in running else "other"
        records = [one for one in _records(str(path), (path / EPOCHS).stat().st_mtime_ns) if metric in one[1]]
        step = max(1, -(-len(records) // MOST_POINTS))
        kept = records[::step] + (records[-1:] if len(records) % step != 1 and step > 1 else [])
        rows += [(path.name, epoch + 1, metrics[metric], kind) for epoch, metrics in kept]
    frame = pl.DataFrame(rows, schema=CURVES, orient="row").filter(pl.col("value").is_finite())
    return Curves(frame, max(0, len(ranked) - MOST_CURVES))


@st.cache_data(max_entries=2000, show_spinner=False)
def _records(folder: str, changed: int) -> list[tuple[int, dict[str, float]]]:
    """Epoch and metrics; read again when the log has changed."""
    return [(one["epoch"], one["metrics"]) for one in read_epochs(Path(folder))]


def _last(trial: Path) -> float | None:
    """The score that a trial is compared by: its result's, else its last epoch's."""
    result = read_json(trial / "result.json") if (trial / "result.json").is_file() else None
    if result is not None:
        return result.get("metrics", {}).get(SCORE)
    records = _records(str(trial), (trial / EPOCHS).stat().st_mtime_ns)
    return records[-1][1].get(SCORE) if records else None
