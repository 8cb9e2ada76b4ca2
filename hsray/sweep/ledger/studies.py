"""The ledger: one Optuna study a cell, asked and told by us. It outlives the driver, and going on starts from it.

What is asked is a copy in memory; every change is written to the database in one transaction that may be repeated, so
that a driver killed at any instant leaves whole trials. A stopped trial is told PRUNED with its intermediate values; a
trial that was running stays under its number and is taken up again. A trial that has a folder and that the database
does not know (it was damaged, or is a new one) is taken from its folder.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import optuna
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, Trial, TrialState

from hsray.errors import HsrayError
from hsray.experiment import Budget, Dimension
from hsray.sweep.cells import Cell
from hsray.sweep.ledger import bracket
from hsray.sweep.ledger.database import REBUILT, Ledger
from hsray.sweep.ledger.rebuild import contradiction, from_folders
from hsray.sweep.ledger.space import walk

optuna.logging.set_verbosity(optuna.logging.ERROR)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # TPE in groups of conditions
TOLD = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED, "FAILED": TrialState.FAIL}


DELETE = "delete the cell's study in the database; the same command then rebuilds it from the run folders"


def doubts(cells: list[Cell], folder: Path) -> Callable[[str, list[FrozenTrial]], str | None]:
    """What in a study cannot be true, as its cell's run folders tell."""
    known = {cell.id: cell for cell in cells}
    return lambda study, trials: contradiction(known[study], folder, trials) if study in known else None


class CellStudy:
    """The study of one cell, and the trials of it that are under way."""

    def __init__(self, cell: Cell, ledger: Ledger, budget: Budget) -> None:
        self.cell, self.ledger = cell, ledger
        # Nothing to tune: one trial says all there is to know.
        self.planned = budget.trials if cell.space else 1
        directions = [StudyDirection.MAXIMIZE] + [StudyDirection.MINIMIZE] * cell.searches_fraction
        self._study_id, known = ledger.study(cell.id, directions)
        if ledger.owner and (fault := contradiction(cell, ledger.folder, known)):
            raise HsrayError(f"the ledger is damaged: {fault}", where=ledger.where, do=DELETE)
        self._ids = {trial.number: trial._trial_id for trial in known}
        for trial in from_folders(cell, ledger, first=len(known)):
            number = len(self._ids)
            self._ids[number] = ledger.add(self._study_id, number, trial)
            known.append(trial)
        self.study = optuna.create_study(study_name=cell.id, directions=directions)
        try:
            for trial in known:
                if trial.state in (TrialState.COMPLETE, TrialState.PRUNED):
                    walk(cell, lambda name, _, trial=trial: trial.params[name])  # type: ignore[misc]
                self.study.add_trial(trial)
        except (KeyError, ValueError) as error:
            raise HsrayError(
                f"the ledger's trial {len(self.study.trials)} of {cell.id} is not whole: {error}",
                where=ledger.where,
                do=DELETE if ledger.owner else REBUILT,
            ) from None
        self._live: dict[int, Trial] = {}
        self.interrupted = [number for number, trial in enumerate(known) if not trial.state.is_finished()]
        self.asked = len(known)
        self.planned = max(self.planned, self.asked)  # a budget that was lowered takes nothing back

    def ask(self) -> tuple[int, dict[str, Any]] | None:
        """The number and values of an interrupted or new trial; None when there are as many as planned."""
        if not self.interrupted and self.asked >= self.planned:
            return None
        number = self.interrupted[0] if self.interrupted else self.asked
        several = len(self.cell.space) > 1
        self.study.sampler = optuna.samplers.TPESampler(
            seed=seed_of(self.cell.id, number), multivariate=several, group=several
        )
        if self.interrupted:
            self.interrupted.pop(0)
            trial = Trial(self.study, self._trial(number)._trial_id)
            known = set(self._trial(number).params)
            values = _suggest(trial, self.cell)
            # Its values were written one by one by earlier versions, and the driver may have died in between.
            for name in values.keys() - known:
                self.ledger.set_value(self._ids[number], name, values[name], trial.distributions[name])
        else:
            trial = self.study.ask()
            self.asked += 1
            values = _suggest(trial, self.cell)
            self._ids[number] = self.ledger.add(self._study_id, number, self._trial(number))
        self._live[number] = trial
        return number, values

    def report(self, number: int, epoch: int, score: float) -> bool:
        """Note the validation score after an epoch (from 0). True: the bracket stops the trial.

        May be repeated for the last epoch: a driver that died before it acted on the answer gets it again.
        """
        if self.cell.searches_fraction or self.cell.bracket is None:
            self.note(number, [(epoch, score)])
            return False
        own = self._trial(number).intermediate_values
        if epoch + 1 < max(own, default=0):
            return False  # trained again from a checkpoint; that was decided
        self.note(number, [(epoch, score)])
        own = self._trial(number).intermediate_values
        others = (t.intermediate_values for t in self.study.get_trials(deepcopy=False) if t.number != number)
        return bracket.stops(own, epoch + 1, others, *self.cell.bracket)

    def note(self, number: int, scores: Iterable[tuple[int, float]]) -> None:
        """Validation scores after epochs (from 0); those known already stay as they are."""
        if self.cell.searches_fraction:
            return  # Optuna keeps none where there are two objectives
        for epoch, score in scores:
            if epoch + 1 not in self._trial(number).intermediate_values:
                self.ledger.note(self._ids[number], epoch + 1, score)
                self._live[number].report(score, step=epoch + 1)

    def tell(self, number: int, state: str, score: float | None, labelled_images: float | None = None) -> None:
        """A trial has ended: COMPLETE with its best score, PRUNED, or FAILED. Without a score it has failed."""
        self._live.pop(number)
        values: list[float] | None = None
        if state == "COMPLETE":
            if score is None or math.isnan(score):
                state = "FAILED"
            else:
                values = [score, labelled_images or 0.0] if self.cell.searches_fraction else [score]
        self.study.tell(number, values, state=TOLD[state])
        told = self._trial(number)
        self.ledger.tell(self._ids[number], told.state, told.values)

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def trials_done(self) -> bool:
        return self.asked >= self.planned and not self._live and not self.interrupted

    def counts(self) -> dict[str, int]:
        """Trials by state: COMPLETE, PRUNED, FAIL, RUNNING."""
        found: dict[str, int] = {}
        for trial in self.study.get_trials(deepcopy=False):
            found[trial.state.name] = found.get(trial.state.name, 0) + 1
        return found

    def best(self) -> FrozenTrial | None:
        """The complete trial with the best validation score; None where none is complete."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(complete, key=lambda trial: (trial.values[0], -trial.number), default=None)

    def _trial(self, number: int) -> FrozenTrial:
        return self.study.get_trials(deepcopy=False)[number]


def seed_of(cell_id: str, number: int) -> int:
    """What is suggested depends on the cell, the trial's number and the trials told so far, and on nothing else.

    A second attempt at a cell (`…@hash~2`) has the seeds of the first.
    """
    return (int(cell_id.rsplit("@", 1)[1].split("~", maxsplit=1)[0], 16) + number) % 2**32


def _suggest(trial: Trial, cell: Cell) -> dict[str, Any]:
    def draw(name: str, dimension: Dimension) -> Any:
        if dimension.choice is not None:
            return trial.suggest_categorical(name, dimension.choice)
        if dimension.whole is not None:
            return trial.suggest_int(name, *dimension.whole)
        low, high = dimension.log or dimension.uniform or (0.0, 1.0)
        return trial.suggest_float(name, low, high, log=dimension.log is not None)

    return walk(cell, draw)
