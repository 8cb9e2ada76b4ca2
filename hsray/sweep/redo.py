"""Repeating a cell or a final: another attempt beside the first, whose runs stay where they are and do not count."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hsray.errors import RequestError
from hsray.runlog import RESULT, read_json, write_json
from hsray.sweep.cells import Cell
from hsray.sweep.jobs import final_folders
from hsray.training import checkpoint

REDO = "redo.json"


class Attempts(BaseModel):
    """What `redo.json` holds: numbers of attempts by the cell's id without its attempt, and for finals by seed."""

    model_config = ConfigDict(extra="forbid")
    version: int = Field(1, ge=1, le=1)
    cells: dict[str, int] = {}
    finals: dict[str, dict[int, int]] = {}

    @classmethod
    def read(cls, sweep_folder: Path) -> Attempts:
        """Raises RequestError where the file is damaged."""
        try:
            return cls.model_validate(read_json(sweep_folder / REDO) or {})
        except (ValidationError, ValueError) as error:
            raise RequestError(
                f"the attempts asked for cannot be read: {str(error).splitlines()[0]}",
                where=str(sweep_folder / REDO),
                do="mend it, or take it away: then the first attempt of every cell counts again",
            ) from None

    def applied(self, cells: list[Cell]) -> list[Cell]:
        """The cells as they are to be run now."""
        repeated = [replace(cell, attempt=self.cells.get(cell.id, 1)) for cell in cells]
        return [replace(cell, final_attempts=self.finals.get(cell.id, {})) for cell in repeated]


def redo_cell(sweep_folder: Path, cell: Cell) -> None:
    """Ask for another attempt of a cell, trials and finals; where the last one asked for has not begun, for that.

    Raises:
        RequestError: nothing of the cell has run yet.
    """
    if not cell.folder(sweep_folder).is_dir():
        if cell.attempt == 1:
            raise RequestError(f"nothing of this cell has run yet: {_values(cell)}", do="run `hsray sweep` first")
        return
    attempts = Attempts.read(sweep_folder)
    attempts.cells[replace(cell, attempt=1).id] = cell.attempt + 1
    write_json(sweep_folder / REDO, attempts.model_dump(mode="json"))


def redo_finals(sweep_folder: Path, cell: Cell, seeds: list[int]) -> list[int]:
    """Ask for other attempts of a cell's finals. Returns the seeds that will be trained again.

    Raises:
        RequestError: no final has run under one of the seeds.
    """
    attempts = Attempts.read(sweep_folder)
    of_cell = attempts.finals.setdefault(cell.id, {})
    begun = [seed for seed in seeds if final_folders(cell, seed, sweep_folder)]
    again = [seed for seed in seeds if seed in begun or seed in of_cell]
    if again != seeds:
        missing = ", ".join(str(seed) for seed in seeds if seed not in again)
        what = f"no final of this cell has run under seed {missing}: {_values(cell)}"
        raise RequestError(what, do="name seeds that have run, or run `hsray sweep` first")
    for seed in begun:
        of_cell[seed] = cell.final_attempts.get(seed, 1) + 1
    write_json(sweep_folder / REDO, attempts.model_dump(mode="json"))
    return again


def final_seeds(cell: Cell, sweep_folder: Path) -> list[int]:
    """The seeds under which finals of a cell have run. Raises RequestError where there is none."""
    names = [path.name for path in cell.folder(sweep_folder).glob("final-seed*")]
    found = {int(name.split("-")[1].removeprefix("seed")) for name in names}
    if not found:
        raise RequestError(f"no final of this cell has run yet: {_values(cell)}", do="run `hsray sweep` first")
    return sorted(found)


def earlier_attempts(cell: Cell) -> list[Cell]:
    """A cell as it was before it was repeated."""
    return [replace(cell, attempt=attempt) for attempt in range(1, cell.attempt)]


def superseded_checkpoints(cell: Cell, sweep_folder: Path) -> Iterator[Path]:
    """Of runs of attempts that do not count any more; where a run never ended, one may also be in a store only."""
    runs = [run for earlier in earlier_attempts(cell) for run in earlier.folder(sweep_folder).glob("*-*")]
    for seed, last in cell.final_attempts.items():
        for attempt in range(1, last):
            runs += final_folders(replace(cell, final_attempts={seed: attempt}), seed, sweep_folder)
    for run in runs:
        for name in (checkpoint.NAME, checkpoint.PREVIOUS):
            if (run / name).exists() or not (run / RESULT).exists():
                yield run / name


def named_cell(cells: list[Cell], words: list[str], where: str) -> Cell:
    """The one cell that these values of its axes mean; parts of them are enough.

    Raises:
        RequestError: no cell or several; lists the candidates.
    """
    wanted = [word for text in words for word in text.replace(",", " ").split()]
    for fits in (_says, _contains):
        found = [cell for cell in cells if all(fits(cell, word) for word in wanted)]
        if len(found) == 1:
            return found[0]
        if found:
            break
    text = " ".join(wanted)
    listed = "\n".join(f"    {_values(cell)}" for cell in found or cells)
    what = f"'{text}' means {len(found)} cells" if found else f"there is no cell '{text}'"
    raise RequestError(what, where=where, do=f"name one of these by its values, or by enough of them:\n{listed}")


def _values(cell: Cell) -> str:
    return "  ".join(map(str, cell.axes.values()))


def _says(cell: Cell, word: str) -> bool:
    said: list[Any] = [*cell.axes.values(), *cell.name.split(","), cell.name, cell.id]
    return word in map(str, said)


def _contains(cell: Cell, word: str) -> bool:
    return word in _values(cell) or word in cell.id
