"""A run at work: model, optimiser and data of one configuration, and where it stands."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from hsray.datasets import open_store, training_subset
from hsray.datasets.samples import Shard
from hsray.errors import RunStopped, TrainingFailed
from hsray.scores import scores
from hsray.strategies.assembly import Assembled, assemble
from hsray.training.batches import batches_of
from hsray.training.config import RunConfig
from hsray.training.evaluation import evaluate
from hsray.training.layerwise import parameter_groups
from hsray.training.memory import memory_watched
from hsray.training.metrics import reduce_over_workers, share_buffers
from hsray.training.progress import Progress
from hsray.training.saving import Saving
from hsray.training.stopping import Stop

SCORE = "val/jaccard_macro"


class Run:
    """`accumulate` parts of every batch go through the model one after the other, `shrink` makes evaluation windows
    smaller: both for devices without room for the whole."""

    def __init__(
        self,
        config: RunConfig,
        folder: Path,
        shard: Shard,
        device: torch.device,
        cache: Path | None,
        wrap: Callable[[nn.Module], nn.Module],
        stop: Stop,
        accumulate: int = 1,
        shrink: int = 1,
    ) -> None:
        self.config, self.folder, self.shard, self.device = config, folder, shard, device
        self.stop, self.accumulate = stop, accumulate
        seed_everything(config.seed)
        training = config.training
        root = Path(config.data_root) if config.data_root else None
        self.store = open_store(config.dataset, root)
        self.subset = training_subset(self.store, config.fraction, config.seed)
        self.assembled: Assembled = assemble(config.strategy, config.task, self.store, self.subset, cache or folder)
        self.assembled.model.to(device)
        self.model = wrap(self.assembled.model)
        self.half = training.half and device.type == "cuda" and torch.cuda.is_bf16_supported()
        groups = parameter_groups(self.assembled, training)
        self.optimiser = torch.optim.AdamW(groups, lr=training.lr, weight_decay=training.weight_decay)
        self.batches = batches_of(config, self.assembled.reader, self.subset, shard)
        self.how: dict[str, Any] = {
            "task": config.task, "window": training.window, "overlap": training.overlap, "device": device,
            "half": self.half, "shrink": shrink, "stop": stop,
        }  # fmt: skip
        self.saving = Saving(folder, config.digest(), self.assembled.model, self.optimiser, shard, device)
        self.progress = self.saving.restore()

    @property
    def ended(self) -> bool:
        """All epochs are done, or patience is out."""
        training, progress = self.config.training, self.progress
        waited = progress.epoch - 1 - progress.best_epoch
        out_of_patience = training.patience is not None and progress.best_epoch >= 0 and waited >= training.patience
        return out_of_patience or progress.epoch >= training.epochs

    def one_epoch(self) -> dict[str, float]:
        """Train an epoch or what is left of it, validate, and note the best weights so far.

        Raises:
            RunStopped: the run was asked to stop; it has saved where it is.
        """
        progress = self.progress
        progress.resume_clock()
        if progress.update == 0 or not self.saving.restore_random():
            # Dropout is drawn from (seed, epoch), so that a run that goes on equals one that was never interrupted.
            torch.manual_seed(self.config.seed * 100_003 + progress.epoch)
        begun, first = time.monotonic(), progress.update
        with memory_watched("training"):
            self._train(progress)
        samples = self.batches.samples * (progress.update - first) / self.batches.updates
        speed = {"cost/samples_per_second": samples / (time.monotonic() - begun)} if samples else {}
        share_buffers(self.assembled.model)
        with self.saving.at_stop(progress), memory_watched("evaluation"):
            validation = evaluate(self.assembled.model, self.assembled.reader, "val", shard=self.shard, **self.how)
        found = scores(validation.confusion_NKK.sum(0), self.store.ignore_id)
        metrics = {f"val/{name}": value for name, value in found.items()}
        fastest = self.optimiser.param_groups[0]
        lr = fastest["lr"] / fastest["lr_scale"]
        metrics |= {"val/loss": validation.loss, "train/loss": progress.loss / max(progress.pixels, 1.0), "lr": lr}
        if not np.isfinite(validation.loss) or not np.isfinite(metrics[SCORE]):
            raise TrainingFailed(
                f"after epoch {progress.epoch + 1} the validation loss is {validation.loss}, "
                f"the Jaccard {metrics[SCORE]}",
                where=f"strategy {self.config.strategy.name}, dataset {self.store.name}",
                do="lower the learning rate; or, where no validation pixel has a label, mend the splits",
            )
        if metrics[SCORE] > progress.best:
            progress.best, progress.best_epoch, progress.best_metrics = metrics[SCORE], progress.epoch, metrics
            progress.best_state = {k: v.detach().cpu().clone() for k, v in self.assembled.model.state_dict().items()}
        progress.next_epoch()
        progress.pause_clock()
        return metrics | speed | {"cost/seconds": progress.seconds}

    def _train(self, progress: Progress) -> None:
        self.model.train()
        for x, labels in self.batches.epoch(progress.epoch, progress.update):
            # One reduction for all: what counts in the loss, and what every worker has to do at the same update.
            counted = int((labels != self.store.ignore_id).sum())
            count, stop, save = reduce_over_workers(np.array([counted, self.stop(), self.saving.due()], dtype=float))
            self._set_lr(progress.epoch + progress.update / self.batches.updates)
            if count:
                progress.loss += self._update(x, labels, count)
                progress.pixels += float(count)
            progress.update += 1
            if stop or save:
                self.saving.save(progress, within_epoch=True)
            if stop:
                self.saving.wait()
                raise RunStopped(f"asked to stop in epoch {progress.epoch + 1}, after update {progress.update}")

    def _update(self, x: Tensor, labels: Tensor, count: float) -> float:
        """One step of the optimiser; the loss is summed over all workers' pixels, of which `count` have a label."""
        parts = max(1, min(self.accumulate, len(x) // 2))  # batch norm needs two
        mine = 0.0
        self.optimiser.zero_grad(set_to_none=True)
        for number, (x_part, labels_part) in enumerate(zip(x.chunk(parts), labels.chunk(parts), strict=True), 1):
            distributed = isinstance(self.model, DistributedDataParallel)
            with self.model.no_sync() if distributed and number < parts else nullcontext():  # type: ignore[operator]
                x_part, labels_part = (part.to(self.device, non_blocking=True) for part in (x_part, labels_part))
                with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
                    logits = self.model(x_part)
                loss_sum = nn.functional.cross_entropy(
                    logits.float(), labels_part, ignore_index=self.store.ignore_id, reduction="sum"
                )
                # DDP averages gradients over workers; scaled so, they are those of one worker with the whole batch.
                (loss_sum * (self.shard.world / count)).backward()
            mine += float(loss_sum.detach())
        loss = float(reduce_over_workers(np.array([mine]))[0])
        training, progress = self.config.training, self.progress
        if not np.isfinite(loss):  # every worker sees the same and stops
            raise TrainingFailed(
                f"the training loss is {loss} in epoch {progress.epoch + 1}, update {progress.update + 1}",
                where=f"strategy {self.config.strategy.name}, dataset {self.store.name}, lr {training.lr:g}",
                do="lower the learning rate, or clip the gradient (`clip: 1.0`)",
            )
        if training.clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
        self.optimiser.step()
        return loss

    def _set_lr(self, epochs_done: float) -> None:
        training = self.config.training
        share = 0.5 * (1 + np.cos(np.pi * epochs_done / training.epochs)) if training.schedule == "cosine" else 1.0
        for group in self.optimiser.param_groups:
            group["lr"] = training.lr * group["lr_scale"] * float(share)

    def cost(self) -> dict[str, float]:
        seconds = self.progress.seconds
        return {
            "cost/seconds": seconds,
            "cost/device_seconds": seconds * self.shard.world,
            "cost/features_seconds": self.assembled.features_seconds,
            "parameters/trained": self.assembled.trained,
            "parameters/total": self.assembled.total,
            "labelled_images": len(self.subset),
        }


def seed_everything(seed: int) -> None:
    """Equal seeds give equal runs on one kind of machine; where an operation cannot, torch warns."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
