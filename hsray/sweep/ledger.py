"""The ledger: one Optuna study a cell, asked and told by us. It outlives the driver, and going on starts from it.

A stopped trial is told PRUNED with its intermediate values; a trial that was running when the driver died stays under
its number and is taken up again. The bracket (ASHA) is Optuna's successive halving, which keeps its rungs in the
study, so that it outlives the driver as well.
"""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import optuna
import sqlalchemy
from optuna.trial import FrozenTrial, Trial, TrialState

from hsray.experiment import Budget, Dimension
from hsray.sweep.cells import Cell

optuna.logging.set_verbosity(optuna.logging.WARNING)
warnings.filterwarnings("ignore", category=optuna.exceptions.ExperimentalWarning)  # TPE in groups of conditions
ENDED = {"COMPLETE": TrialState.COMPLETE, "PRUNED": TrialState.PRUNED, "FAILED": TrialState.FAIL}


def open_ledger(path: Path) -> optuna.storages.RDBStorage:
    """The sweep's ledger, a SQLite file that only the driver writes."""
    storage = optuna.storages.RDBStorage(f"sqlite:///{path}", engine_kwargs={"connect_args": {"timeout": 30}})

    @sqlalchemy.event.listens_for(storage.engine, "connect")
    def _(connection, _record) -> None:
        # Write-ahead logging: a commit survives the driver's death and costs one append.
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=NORMAL")

    storage.engine.dispose()
    return storage


class CellStudy:
    """The study of one cell, and the trials of it that are under way."""

    def __init__(self, cell: Cell, storage: optuna.storages.RDBStorage, budget: Budget) -> None:
        self.cell = cell
        # Nothing to tune: one trial says all there is to know.
        self.planned = budget.trials if cell.space else 1
        self.study = optuna.create_study(
            storage=storage,
            study_name=cell.id,
            load_if_exists=True,
            directions=["maximize", "minimize"] if cell.searches_fraction else ["maximize"],
            pruner=optuna.pruners.SuccessiveHalvingPruner(*cell.bracket, 0)
            if cell.bracket
            else optuna.pruners.NopPruner(),
        )
        self._live: dict[int, Trial] = {}
        self._reported: dict[int, int] = {}
        trials = self.study.get_trials(deepcopy=False)
        self.interrupted = [t.number for t in trials if not t.state.is_finished()]
        self.asked = len(trials)
        self.planned = max(self.planned, self.asked)  # a budget that was lowered takes nothing back

    def ask(self) -> tuple[int, dict[str, Any]] | None:
        """The number and values of an interrupted or new trial; None when there are as many as planned."""
        if not self.interrupted and self.asked >= self.planned:
            return None
        number = self.interrupted[0] if self.interrupted else self.asked
        # Seeded by cell and number: what is suggested depends on the trials told so far and on nothing else.
        seed = (int(self.cell.id.rsplit("@", 1)[1], 16) + number) % 2**32
        several = len(self.cell.space) > 1
        self.study.sampler = optuna.samplers.TPESampler(seed=seed, multivariate=several, group=several)
        if self.interrupted:
            self.interrupted.pop(0)
            frozen = self.study.get_trials(deepcopy=False)[number]
            trial = Trial(self.study, frozen._trial_id)
            self._reported[number] = frozen.last_step or 0
        else:
            trial = self.study.ask()
            self.asked += 1
        self._live[trial.number] = trial
        return trial.number, _suggest(trial, self.cell)

    def report(self, number: int, epoch: int, score: float) -> bool:
        """Note the validation score after an epoch (from 0). True: the bracket stops the trial."""
        if self.cell.searches_fraction:
            return False
        trial = self._live[number]
        if epoch >= self._reported.get(number, 0):  # else trained again from a checkpoint
            trial.report(score, step=epoch + 1)
        return trial.should_prune()

    def tell(self, number: int, state: str, score: float | None, labelled_images: float | None = None) -> None:
        """A trial has ended: COMPLETE with its best score, PRUNED, or FAILED."""
        trial = self._live.pop(number)
        values: list[float] | None = None
        if state == "COMPLETE" and score is not None:
            values = [score, labelled_images or 0.0] if self.cell.searches_fraction else [score]
        self.study.tell(trial, values, state=ENDED[state])

    @property
    def live(self) -> int:
        return len(self._live)

    @property
    def trials_done(self) -> bool:
        return self.asked >= self.planned and not self._live and not self.interrupted

    def counts(self) -> dict[str, int]:
        """Ended trials by state: COMPLETE, PRUNED, FAIL, RUNNING."""
        found: dict[str, int] = {}
        for trial in self.study.get_trials(deepcopy=False):
            found[trial.state.name] = found.get(trial.state.name, 0) + 1
        return found

    def best(self) -> FrozenTrial | None:
        """The complete trial with the best validation score; None where none is complete."""
        complete = self.study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        return max(complete, key=lambda trial: (trial.values[0], -trial.number), default=None)


def _suggest(trial: Trial, cell: Cell) -> dict[str, Any]:
    values: dict[str, Any] = {}
    for name, dimension in cell.space.items():
        known = {**cell.axes, **cell.values, **values}
        if all(known.get(condition) == wanted for condition, wanted in (dimension.when or {}).items()):
            values[name] = _draw(trial, name, dimension)
    return values


def _draw(trial: Trial, name: str, dimension: Dimension) -> Any:
    if dimension.choice is not None:
        return trial.suggest_categorical(name, dimension.choice)
    if dimension.whole is not None:
        return trial.suggest_int(name, *dimension.whole)
    low, high = dimension.log or dimension.uniform or (0.0, 1.0)
    return trial.suggest_float(name, low, high, log=dimension.log is not None)
