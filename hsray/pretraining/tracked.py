"""A pretraining with its MLflow run. Training never waits for MLflow: what is not there yet is in the run's folder."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hsray.errors import HsrayError, RequestError
from hsray.pretraining.recipe import Recipe
from hsray.pretraining.run import Outputs, Progress, pretrain, read_checkpoint
from hsray.pretraining.runfolder import EXPERIMENT, RunFolder
from hsray.pretraining.spectra import Spectra, open_spectra
from hsray.tracking import Tracker, manifest

NOTE_EVERY_S = 2.0
DELIVERY_S = 30.0


def run(recipe: Recipe, data: Path, out: Path, uri: str, progress: Progress | None = None) -> tuple[Path, str | None]:
    """Pretrain with one run in the MLflow experiment `pretraining`; return the weights' path, and why MLflow does not
    have all of the run yet (None: it has).

    The same request again goes on where it was interrupted, or delivers to MLflow what was left. Raises as `pretrain`.
    """
    files = Outputs(out)
    folder = RunFolder(files.file(".run").resolve())
    tracker = Tracker(uri, EXPERIMENT)
    try:
        if not (files.weights.exists() and folder.ended and folder.belongs_to(recipe)):
            if files.weights.exists():
                raise RequestError(
                    "the output exists", where=str(files.weights), do="choose another output or remove it"
                )
            # A bad request is refused before anything is written.
            read_checkpoint(files.checkpoint, recipe)
            spectra = open_spectra(recipe, data)
            folder.begin(recipe)
            with _noting(tracker, folder):
                _train(recipe, spectra, data, files, folder, progress)
        tracker.note(folder.path)
        tracker.flush(DELIVERY_S)
    finally:
        left = tracker.close()
    return files.weights, (tracker.refused.get(folder.path) or tracker.problem or "it takes long") if left else None


def _train(
    recipe: Recipe, spectra: list[Spectra], data: Path, files: Outputs, folder: RunFolder, progress: Progress | None
) -> None:
    started = time.time()
    try:
        if recipe.workers > 1:
            from hsray.pretraining.distributed import pretrain_distributed  # one worker needs no Ray

            pretrain_distributed(recipe, data, files.out, folder)
        else:
            pretrain(recipe, data, files.out, progress, spectra=spectra, folder=folder)
    except HsrayError as error:
        folder.fail(started, str(error))
        raise
    folder.end(started, files.weights, manifest())


@contextmanager
def _noting(tracker: Tracker, folder: RunFolder) -> Iterator[None]:
    """Meanwhile the tracker is told every two seconds, and once at the end."""
    over = threading.Event()

    def note() -> None:
        while not over.wait(NOTE_EVERY_S):
            tracker.note(folder.path)

    thread = threading.Thread(target=note, name="hsray-pretraining-notes", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        tracker.note(folder.path)
