"""Trials from their folders: what the ledger does not know, because it was damaged, lost, or is a new one."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from hsray.errors import HsrayError
from hsray.sweep.cells import Cell
from hsray.sweep.ledger.database import Ledger
from hsray.sweep.ledger.space import distribution, walk
from hsray.tracking.runfolder import RunRecord, read_run
from hsray.training import SCORE

UNREADABLE = "hsray.unreadable"
MANY = 100


def from_folders(cell: Cell, ledger: Ledger, first: int) -> Iterator[FrozenTrial]:
    """A cell's trials from number `first` on, as their folders tell; what could not be read has failed.

    The ledger is told how many there were, and which could not be read. Nothing in the folders is changed.
    """
    folders = {number: folder for number, folder in _folders(ledger.folder / "cells" / cell.id) if number >= first}
    if len(folders) > MANY:
        ledger.say(f"taking {len(folders)} trials of {cell.id} from their folders; this may take minutes")
    for number in range(first, max(folders, default=-1) + 1):
        try:
            if number not in folders:
                raise HsrayError("its folder is not there")
            trial = _trial(cell, read_run(folders[number]))
            ledger.recovered += 1
        except HsrayError as error:
            reason = f"{error.what} ({error.where})" if error.where else error.what
            ledger.unreadable.append(f"trial {number} of {cell.id}: {reason}")
            trial = create_trial(state=TrialState.FAIL, user_attrs={UNREADABLE: reason})
        yield trial


def contradiction(cell: Cell, sweep_folder: Path, trials: Iterable[FrozenTrial]) -> str | None:
    """Where what is known of an ended trial is not what its folder says: damage that can still be read.

    How a run ended stands in its folder first. A folder that is gone or cannot be read says nothing.
    """
    for trial in trials:
        if not trial.state.is_finished() or UNREADABLE in trial.user_attrs:
            continue
        try:
            run = read_run(sweep_folder / "cells" / cell.id / f"trial-{trial.number:04d}", epochs=False)
            told = None if run.result is None else _trial(cell, run)
        except (HsrayError, ValueError, LookupError, TypeError, AttributeError):  # not the ledger's fault
            continue
        if told is None:
            continue
        scores = trial.state == TrialState.COMPLETE and trial.values != told.values
        if trial.state != told.state or trial.params != told.params or scores:
            part = "state" if trial.state != told.state else "score" if scores else "values"
            return f"the {part} of trial {trial.number} of {cell.id} is not that of its folder"
    return None


def _folders(cell_folder: Path) -> Iterator[tuple[int, Path]]:
    """Trials that were begun; a folder without anything in it is that of a trial that is asked for again."""
    for folder in cell_folder.glob("trial-*"):
        numbered = re.fullmatch(r"trial-(\d+)", folder.name)
        if numbered and any((folder / name).exists() for name in ("spec.json", "epochs.jsonl", "result.json")):
            yield int(numbered[1]), folder


def _trial(cell: Cell, run: RunRecord) -> FrozenTrial:
    sampled, distributions = _sampled(cell, run)
    scores = {record["epoch"] + 1: record["metrics"][SCORE] for record in run.epochs if SCORE in record["metrics"]}
    state, values = TrialState.RUNNING, None
    if run.result is None:
        # What follows from the last epoch is still to be decided: it is reported when the trial is taken up.
        scores.pop(max(scores, default=0), None)
    else:
        metrics = run.result["metrics"]
        state, values = TrialState.FAIL, None
        if run.result["state"] == "PRUNED":
            state = TrialState.PRUNED
            scores = {step: score for step, score in scores.items() if step <= run.result.get("epochs", step)}
            values = [scores[max(scores)]] if scores and not math.isnan(scores[max(scores)]) else None
        elif run.result["state"] == "COMPLETE" and not math.isnan(metrics.get(SCORE, math.nan)):
            state = TrialState.COMPLETE
            values = [metrics[SCORE]] + ([metrics.get("labelled_images", 0.0)] if cell.searches_fraction else [])
    trial = create_trial(
        state=state,
        values=values,
        params=sampled,
        distributions=distributions,
        intermediate_values={} if cell.searches_fraction else scores,
    )
    trial.datetime_start = datetime.fromtimestamp(run.started_ms / 1000)
    if run.result is not None:
        trial.datetime_complete = datetime.fromtimestamp(run.result["ended"])
    return trial


def _sampled(cell: Cell, run: RunRecord) -> tuple[dict[str, Any], dict[str, Any]]:
    """The trial's sampled values, as the cell's space has them, and Optuna's words for the dimensions."""
    written = run.spec.get("sampled", run.spec["params"])  # earlier versions mixed them with the other values
    distributions = {}

    def draw(name: str, dimension: Any) -> Any:
        distributions[name] = found = distribution(dimension)
        try:
            return found.to_external_repr(found.to_internal_repr(written[name]))
        except (KeyError, ValueError, TypeError):
            what = f"its value of {name} ({written.get(name)!r}) is none of the cell's"
            raise HsrayError(what, where=str(run.folder / "spec.json")) from None

    return walk(cell, draw), distributions
