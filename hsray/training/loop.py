"""The training loop: a plain function of a resolved configuration. It knows neither Tune nor Train nor MLflow."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from hsray.datasets import open_store, training_subset
from hsray.datasets.samples import CropBatches, Shard, SpectraBatches
from hsray.errors import TrainingFailed
from hsray.runlog import append_epoch, keep_epochs
from hsray.scores import scores
from hsray.strategies.assembly import Assembled, assemble
from hsray.training import checkpoint
from hsray.training.config import RunConfig
from hsray.training.evaluation import evaluate
from hsray.training.finals import write_test_results
from hsray.training.layerwise import parameter_groups
from hsray.training.metrics import reduce_over_workers, share_buffers

SCORE = "val/jaccard_macro"
CHECKPOINT_SECONDS = 15.0
Report = Callable[[int, dict[str, float]], None]


@dataclass
class Progress:
    """Where a run stands; all of it is in the checkpoint."""

    epoch: int = 0
    best: float = -1.0
    best_epoch: int = -1
    best_metrics: dict[str, float] = field(default_factory=dict)
    best_state: dict[str, torch.Tensor] = field(default_factory=dict)
    seconds: float = 0.0


def fit(
    config: RunConfig,
    folder: Path,
    report: Report,
    *,
    shard: Shard = Shard(),
    device: torch.device | None = None,
    cache: Path | None = None,
    wrap: Callable[[nn.Module], nn.Module] = lambda model: model,
) -> dict[str, Any]:
    """Train one configuration; go on from the folder's checkpoint if there is one.

    `report(epoch, metrics)` is called after every epoch on every worker and may raise to stop the run. Returns the
    content of `result.json`: state, metrics (best validation epoch; the test set for finals), cost, artefacts.

    Raises:
        TrainingFailed: the loss is not finite.
        RequestError: dataset, strategy and options do not fit each other.
    """
    started = time.time()
    device = device or torch.device("cuda" if torch.cuda.is_available() else "cpu")
    run = _Run(config, folder, shard, device, cache, wrap)
    state = run.restore()
    while state.epoch < config.training.epochs and not run.out_of_patience(state):
        metrics = run.one_epoch(state)
        if shard.rank == 0:
            append_epoch(folder, state.epoch - 1, metrics)
            run.maybe_checkpoint(state)
        report(state.epoch - 1, metrics)
    run.assembled.model.load_state_dict(state.best_state)
    result: dict[str, Any] = {
        "state": "COMPLETE",
        "reason": None,
        "started": started,
        "ended": time.time(),
        "best_epoch": state.best_epoch,
        "metrics": {**state.best_metrics, **run.cost(state)},
        "artifacts": [],
    }
    if run.assembled.weights is not None:
        result["weights"] = asdict(run.assembled.weights)
    if config.test:
        metrics, result["artifacts"] = write_test_results(folder, run.store, run.assembled, shard, run.how)
        result["metrics"].update(metrics)
        result["ended"] = time.time()
    return result


class _Run:
    def __init__(self, config: RunConfig, folder: Path, shard: Shard, device: torch.device, cache, wrap) -> None:
        self.config, self.folder, self.shard, self.device = config, folder, shard, device
        seed_everything(config.seed)
        training = config.training
        root = Path(config.data_root) if config.data_root else None
        self.store = open_store(config.dataset, root)
        self.subset = training_subset(self.store, config.fraction, config.seed)
        self.assembled: Assembled = assemble(config.strategy, config.task, self.store, self.subset, cache)
        self.assembled.model.to(device)
        self.model = wrap(self.assembled.model)
        self.half = training.half and device.type == "cuda" and torch.cuda.is_bf16_supported()
        groups = parameter_groups(self.assembled, training)
        self.optimiser = torch.optim.AdamW(groups, lr=training.lr, weight_decay=training.weight_decay)
        self.batches = self._batches()
        self.how: dict[str, Any] = {
            "task": config.task, "window": training.window, "overlap": training.overlap, "device": device,
            "half": self.half,
        }  # fmt: skip
        self.saved_at = time.monotonic()

    def _batches(self) -> CropBatches | SpectraBatches:
        training = self.config.training
        common: dict[str, Any] = {
            "seed": self.config.seed, "shard": self.shard, "batch": training.batch, "min_updates": training.min_updates,
        }  # fmt: skip
        if self.config.task == "spectral":
            return SpectraBatches(
                self.assembled.reader, self.subset, pixels_per_image=training.pixels_per_image,
                **common,
            )  # fmt: skip
        return CropBatches(
            self.assembled.reader, self.subset, crop=training.crop,
            crops_per_image=training.crops_per_image, flip=training.flip, loaders=training.loaders, **common,
        )  # fmt: skip

    def one_epoch(self, state: Progress) -> dict[str, float]:
        """Train an epoch, validate, and note the best weights so far."""
        begun = time.monotonic()
        # Dropout is drawn from (seed, epoch), so that a run that goes on equals one that was never interrupted.
        torch.manual_seed(self.config.seed * 100_003 + state.epoch)
        train_loss = self._train(state.epoch)
        share_buffers(self.assembled.model)
        validation = evaluate(self.assembled.model, self.assembled.reader, "val", shard=self.shard, **self.how)
        found = scores(validation.confusion_NKK.sum(0), self.store.ignore_id)
        metrics = {f"val/{name}": value for name, value in found.items()}
        fastest = self.optimiser.param_groups[0]
        lr = fastest["lr"] / fastest["lr_scale"]
        metrics |= {"val/loss": validation.loss, "train/loss": train_loss, "lr": lr}
        if not np.isfinite(validation.loss) or not np.isfinite(metrics[SCORE]):
            raise TrainingFailed(
                f"after epoch {state.epoch + 1} the validation loss is {validation.loss}, the Jaccard {metrics[SCORE]}",
                where=f"strategy {self.config.strategy.name}, dataset {self.store.name}",
                do="lower the learning rate; or, where no validation pixel has a label, mend the splits",
            )
        if metrics[SCORE] > state.best:
            state.best, state.best_epoch, state.best_metrics = metrics[SCORE], state.epoch, metrics
            state.best_state = {k: v.detach().cpu().clone() for k, v in self.assembled.model.state_dict().items()}
        state.epoch += 1
        state.seconds += time.monotonic() - begun
        return metrics | {"cost/seconds": state.seconds}

    def _train(self, epoch: int) -> float:
        self.model.train()
        training, ignore = self.config.training, self.store.ignore_id
        sums = np.zeros(2)
        for update, (x, labels) in enumerate(self.batches.epoch(epoch)):
            self._set_lr(epoch + update / self.batches.updates)
            x, labels = x.to(self.device, non_blocking=True), labels.to(self.device, non_blocking=True)
            with torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.half):
                logits = self.model(x)
            loss_sum = nn.functional.cross_entropy(logits.float(), labels, ignore_index=ignore, reduction="sum")
            mine = np.array([float(loss_sum.detach()), int((labels != ignore).sum())])
            batch_loss, batch_count = reduce_over_workers(mine)
            if batch_count == 0:
                continue
            if not np.isfinite(batch_loss):  # every worker sees the same and stops
                raise TrainingFailed(
                    f"the training loss is {batch_loss} in epoch {epoch + 1}, update {update + 1}",
                    where=f"strategy {self.config.strategy.name}, dataset {self.store.name}, lr {training.lr:g}",
                    do="lower the learning rate, or clip the gradient (`clip: 1.0`)",
                )
            self.optimiser.zero_grad(set_to_none=True)
            # DDP averages gradients over workers; scaled so, they are those of one worker with the whole batch.
            (loss_sum * (self.shard.world / batch_count)).backward()
            if training.clip is not None:
                nn.utils.clip_grad_norm_(self.model.parameters(), training.clip)
            self.optimiser.step()
            sums += batch_loss, batch_count
        return float(sums[0] / max(sums[1], 1))

    def _set_lr(self, epochs_done: float) -> None:
        training = self.config.training
        share = 0.5 * (1 + np.cos(np.pi * epochs_done / training.epochs)) if training.schedule == "cosine" else 1.0
        for group in self.optimiser.param_groups:
            group["lr"] = training.lr * group["lr_scale"] * float(share)

    def out_of_patience(self, state: Progress) -> bool:
        patience = self.config.training.patience
        return patience is not None and state.best_epoch >= 0 and state.epoch - 1 - state.best_epoch >= patience

    def maybe_checkpoint(self, state: Progress) -> None:
        """Short epochs are cheaper to repeat than to save."""
        if time.monotonic() - self.saved_at < CHECKPOINT_SECONDS:
            return
        content = {"model": self.assembled.model.state_dict(), "optimiser": self.optimiser.state_dict()}
        checkpoint.save(self.folder, content | {"progress": vars(state)})
        self.saved_at = time.monotonic()

    def restore(self) -> Progress:
        """Go on from the checkpoint, or start; what was logged after it is forgotten and trained again."""
        saved = checkpoint.load(self.folder)
        if saved is not None:
            self.assembled.model.load_state_dict(saved["model"])
            self.optimiser.load_state_dict(saved["optimiser"])
        state = Progress(**saved["progress"]) if saved else Progress()
        if self.shard.rank == 0:
            keep_epochs(self.folder, state.epoch)
        return state

    def cost(self, state: Progress) -> dict[str, float]:
        return {
            "cost/seconds": state.seconds,
            "cost/device_seconds": state.seconds * self.shard.world,
            "cost/features_seconds": self.assembled.features_seconds,
            "parameters/trained": self.assembled.trained,
            "parameters/total": self.assembled.total,
            "labelled_images": len(self.subset),
        }


def seed_everything(seed: int) -> None:
    """Equal seeds give equal runs on one kind of machine; where an operation cannot, torch warns."""
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)
