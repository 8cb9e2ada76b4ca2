"""One run as the sweep hands it out: a trial or a final of a cell, with its folder and its configuration."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from hsray.errors import HsrayError
from hsray.runlog import RESULT, read_json, write_json, writing
from hsray.strategies.provenance import contamination
from hsray.sweep.cells import Cell, suffix
from hsray.training import RunConfig


class Job(BaseModel):
    """`number` is the trial's number or the final's seed."""

    model_config = ConfigDict(frozen=True)
    cell: str
    kind: Literal["trial", "final"]
    number: int
    folder: Path
    config: RunConfig
    cache: Path
    attempt: int = 1
    keep_weights: bool = False  # a trial's; a final's are always kept

    @property
    def key(self) -> str:
        """What a run is found again by: cell, trial number or seed, hash of the resolved configuration."""
        return f"{self.cell}/{self.kind}-{self.number}/{self.config.digest()}{suffix(self.attempt)}"

    @property
    def result(self) -> dict[str, Any] | None:
        """What the run left when it ended; None while it has not. Raises HsrayError where the file is damaged."""
        path = self.folder / RESULT
        try:
            return read_json(path)
        except ValueError as error:
            do = "delete the file and run the same command again: the run is trained again"
            raise HsrayError(f"a run's result cannot be read: {error}", where=str(path), do=do) from None


def trial_folder(cell: Cell, number: int, sweep_folder: Path) -> Path:
    return cell.folder(sweep_folder) / f"trial-{number:04d}"


def trial_number(folder: Path) -> int:
    return int(folder.name.removeprefix("trial-"))


def final_folders(cell: Cell, seed: int, sweep_folder: Path) -> list[Path]:
    """Of the cell's finals under a seed, those of the attempt that counts; under several configurations, maybe."""
    attempt = suffix(cell.final_attempts.get(seed, 1))
    found = cell.folder(sweep_folder).glob(f"final-seed{seed}-*")
    return sorted(path for path in found if path.name.partition("~")[2] == attempt.removeprefix("~"))


def trial_job(
    cell: Cell, number: int, sampled: dict[str, Any], sweep_folder: Path, cache: Path, *, keep_weights: bool = False
) -> Job:
    folder = trial_folder(cell, number, sweep_folder)
    config = cell.config(sampled, seed=0)
    return Job(
        cell=cell.id, kind="trial", number=number, folder=folder, config=config, cache=cache, keep_weights=keep_weights
    )


def final_job(cell: Cell, seed: int, sampled: dict[str, Any], sweep_folder: Path, cache: Path) -> Job:
    config = cell.config(sampled, seed=seed, test=True)
    attempt = cell.final_attempts.get(seed, 1)
    folder = cell.folder(sweep_folder) / f"final-seed{seed}-{config.digest()}{suffix(attempt)}"
    return Job(cell=cell.id, kind="final", number=seed, folder=folder, config=config, cache=cache, attempt=attempt)


def write_spec(job: Job, cell: Cell, sampled: dict[str, Any]) -> None:
    """Say on disk what the run is, before it starts. Raises MachineFault."""
    with writing(job.folder):
        job.folder.mkdir(parents=True, exist_ok=True)
    config = job.config
    fraction = config.fraction
    tags = {
        "hsray.key": job.key,
        "hsray.cell": cell.id,
        "hsray.kind": job.kind,
        "hsray.dataset": cell.store.name,
        "hsray.task": config.task,
        "hsray.strategy": cell.strategy.name,
        "hsray.family": cell.strategy.family,
        "hsray.fraction": str(fraction),
        "hsray.seed": str(config.seed),
        "hsray.config": config.digest(),
        "hsray.axes": json.dumps(cell.axes | ({} if cell.searches_fraction else {"fraction": fraction}), default=str),
    }
    if seen := contaminated(cell):
        tags["hsray.contaminated"] = seen
    params = {**config.training.model_dump(), "adapter": config.strategy.adapter.kind, **sampled}
    params |= {"fraction": fraction, "seed": config.seed}
    name = f"{cell.name} {job.kind} {job.number}"
    spec = {
        "key": job.key, "kind": job.kind, "cell": cell.id, "name": name, "tags": tags, "params": params,
        "sampled": sampled, "attempt": cell.attempt if job.kind == "trial" else job.attempt,
        "config": config.model_dump(mode="json"), "workers": cell.resources.workers,
    }  # fmt: skip
    write_json(job.folder / "spec.json", spec)


def contaminated(cell: Cell) -> str:
    """The pretraining sets of the cell's encoder which are the cell's dataset; empty where it has not seen it."""
    return ", ".join(contamination(cell.strategy, cell.store))
