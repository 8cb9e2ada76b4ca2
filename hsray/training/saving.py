"""When and how a run saves where it is, and finds it again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from hsray.datasets.samples import Shard
from hsray.errors import MachineFault, RunStopped
from hsray.runlog import keep_epochs, read_epochs, sync_epochs
from hsray.training import checkpoint
from hsray.training.checkpoint import Untrusted
from hsray.training.memory import OutOfMemory
from hsray.training.metrics import gather_from_workers, reduce_over_workers
from hsray.training.progress import Progress

EVERY = 15.0  # seconds, unless HSRAY_CHECKPOINT_SECONDS says otherwise
LARGEST_SHARE = 0.05  # of a run's time that saving may take; large models are saved less often


class Saving:
    """The first worker writes; all of them read."""

    def __init__(
        self,
        folder: Path,
        config: str,
        model: nn.Module,
        optimiser: torch.optim.Optimizer,
        shard: Shard,
        device: torch.device,
    ) -> None:
        self.folder, self.config, self.model, self.optimiser = folder, config, model, optimiser
        self.shard, self.device = shard, device
        self._wanted = checkpoint.seconds_between()
        self._saved_at, self._took = time.monotonic(), 0.0
        self._random: dict[str, Tensor] = {}

    def due(self) -> bool:
        """Is it time to save? What takes less to train than to save is cheaper to train again."""
        every = max(EVERY, self._took / LARGEST_SHARE) if self._wanted is None else self._wanted
        return self.shard.rank == 0 and time.monotonic() - self._saved_at >= every

    def save(self, progress: Progress, *, within_epoch: bool = False) -> None:
        """Save where the run is; `within_epoch` all workers have to, for the sake of what each draws at random.

        A checkpoint that cannot be written does not end the run: the one before it stays, and the progress notes it.
        """
        random = gather_from_workers(self._own_random()) if within_epoch else {}
        if self.shard.rank == 0:
            begun = time.monotonic()
            progress.pause_clock()
            content = {
                "config": self.config, "model": self.model.state_dict(), "optimiser": self.optimiser.state_dict(),
                "progress": {field.name: getattr(progress, field.name) for field in fields(progress)},
                "random": {name: torch.from_numpy(state) for name, state in random.items()},
            }  # fmt: skip
            try:
                sync_epochs(self.folder)
                checkpoint.save(self.folder, content)
            except MachineFault as fault:
                progress.note(f"a checkpoint could not be written, and the one before it was kept: {fault.what}")
            self._saved_at = time.monotonic()
            self._took = self._saved_at - begun
        if within_epoch:
            progress.resume_clock()

    @contextmanager
    def at_stop(self, progress: Progress) -> Iterator[None]:
        """Around what is read whole and again, and draws nothing: save there when it is stopped or lacks memory."""
        try:
            yield
        except RunStopped:
            self.save(progress)
            self.wait()
            raise
        except OutOfMemory:
            self.save(progress)
            raise

    @staticmethod
    def wait() -> None:
        """Nobody ends before the first worker has written: the end of one may be the end of all."""
        reduce_over_workers(np.zeros(1))

    def restore(self) -> Progress:
        """Go on from the checkpoint, or start; what was logged after it is forgotten and trained again.

        Raises:
            MachineFault: it cannot be read now; or another worker does not see what the first one sees.
        """
        content, notes = self._trusted() if self.shard.rank == 0 else (None, [])
        reached = (content["progress"]["epoch"], content["progress"].get("update", 0)) if content else (-1, 0)
        agreed = reduce_over_workers(np.array(reached if self.shard.rank == 0 else (0, 0)))
        if self.shard.rank != 0 and agreed[0] >= 0:
            content = self._as_first(int(agreed[0]), int(agreed[1]))
        if content is not None:
            self.model.load_state_dict(content["model"])
            self.optimiser.load_state_dict(content["optimiser"])
            self._random = content.get("random", {})
        progress = Progress(**content["progress"]) if content else Progress()
        for text in notes:
            progress.note(text)
        if self.shard.rank == 0:
            keep_epochs(self.folder, progress.epoch)
        return progress

    def _trusted(self) -> tuple[dict[str, Any] | None, list[str]]:
        """The newest checkpoint that can be trusted, and what is to be said of the others."""
        notes: list[str] = []
        for path in checkpoint.candidates(self.folder):
            try:
                content = checkpoint.read(path)
                self._check(content)
            except Untrusted as why:
                notes.append(f"{path.name} was not used: {why}")
                continue
            if notes:  # a spoilt one must not become the previous one of the next
                path.replace(self.folder / checkpoint.NAME)
                notes.append(f"went on from {path.name}, epoch {content['progress']['epoch'] + 1}")
            return content, notes
        return None, [*notes, "started again"] if notes else []

    def _check(self, content: dict[str, Any]) -> None:
        """Raises Untrusted where the content is not of this run as it is now."""
        if content.get("config", self.config) != self.config:
            raise Untrusted("it is of another configuration")
        own, found = self.model.state_dict(), content["model"]
        try:
            progress = Progress(**content["progress"])
            fits = own.keys() == found.keys() and all(own[name].shape == found[name].shape for name in own)
            sizes = [len(group["params"]) for group in content["optimiser"]["param_groups"]]
            logged = {record["epoch"] for record in read_epochs(self.folder)}
            whole = logged >= set(range(progress.epoch))
        except (TypeError, AttributeError, LookupError) as error:
            raise Untrusted(f"it is damaged ({type(error).__name__})") from None
        if not fits or sizes != [len(group["params"]) for group in self.optimiser.param_groups]:
            raise Untrusted("it is of another model")
        if not whole:
            raise Untrusted("the log of the epochs before it is not whole")

    def _as_first(self, epoch: int, update: int) -> dict[str, Any]:
        """The checkpoint that the first worker goes on from."""
        for path in checkpoint.candidates(self.folder):
            try:
                content = checkpoint.read(path)
            except Untrusted:
                continue
            if (content["progress"]["epoch"], content["progress"].get("update", 0)) == (epoch, update):
                return content
        raise MachineFault(
            "a worker does not see the checkpoint that the first one goes on from",
            where=str(self.folder),
            do="put the runs where all nodes can see them",
        )

    def _own_random(self) -> dict[str, np.ndarray]:
        states = {f"{self.shard.rank}/cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            states[f"{self.shard.rank}/cuda"] = torch.cuda.get_rng_state(self.device)
        return {name: state.numpy() for name, state in states.items()}

    def restore_random(self) -> bool:
        """Draw on where this worker was; False where that is not known: there were fewer workers, or other devices."""
        mine = {name: self._random.get(name) for name in self._own_random()}
        for name, state in mine.items():
            if state is None:
                return False
            if name.endswith("/cuda"):
                torch.cuda.set_rng_state(state, self.device)
            else:
                torch.set_rng_state(state)
        return True
