"""Run folders as training and the sweep leave them, written without either."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from hsray.scores import scores
from hsray.tracking import Owner

FAMILIES = {"runet": "in-domain", "efficientnet": "cross-modality", "hypersl": "cross-domain"}
HERE = Owner("0a1b2c", "node1:/runs/demo")
START = 1_760_000_000.0
CLASSES = ["undefined", "corn", "grass", "woods"]


@dataclass
class FakeRun:
    """One run of a cell. `number` is the trial's number or the final's seed."""

    sweep_dir: Path
    kind: str = "trial"
    number: int = 0
    dataset: str = "indian-pines"
    strategy: str = "runet"
    fraction: float | str | None = 0.25
    definition: str = "1a2b3c4d"
    more_axes: dict[str, Any] = field(default_factory=dict)
    config: str = "00c0ffee"

    @property
    def axes(self) -> dict[str, Any]:
        fraction = {} if self.fraction is None else {"fraction": self.fraction}
        return {"dataset": self.dataset, "strategy": self.strategy} | fraction | self.more_axes

    @property
    def cell(self) -> str:
        return ",".join(f"{name}={value}" for name, value in self.axes.items()) + f"@{self.definition}"

    @property
    def key(self) -> str:
        return f"{self.cell}/{self.kind}-{self.number}/{self.config}"

    @property
    def folder(self) -> Path:
        name = f"trial-{self.number:04d}" if self.kind == "trial" else f"final-seed{self.number}-{self.config}"
        return self.sweep_dir / "cells" / self.cell / name

    def start(self, **tags: str) -> FakeRun:
        self.folder.mkdir(parents=True)
        named = {
            "hsray.key": self.key,
            "hsray.cell": self.cell,
            "hsray.kind": self.kind,
            "hsray.dataset": self.dataset,
            "hsray.task": "segmentation",
            "hsray.strategy": self.strategy,
            "hsray.family": FAMILIES[self.strategy],
            "hsray.fraction": str(self.fraction),
            "hsray.seed": str(self.number if self.kind == "final" else 0),
            "hsray.config": self.config,
            "hsray.axes": json.dumps(self.axes),
        }
        params = {"lr": 0.001 * (self.number + 1), "adapter": "full", "batch": 8}
        spec = {
            "key": self.key,
            "kind": self.kind,
            "cell": self.cell,
            "name": f"{self.strategy} {self.kind} {self.number}",
            "tags": named | tags,
            "params": params,
            "config": {"dataset": self.dataset, "training": params},
        }
        (self.folder / "spec.json").write_text(json.dumps(spec))
        return self

    def epochs(self, first: int, last: int) -> FakeRun:
        """Append the epochs first … last - 1."""
        with (self.folder / "epochs.jsonl").open("a") as log:
            for epoch in range(first, last):
                names = ("accuracy_micro", "accuracy_macro", "f1_macro", "jaccard_macro", "loss")
                metrics = {f"val/{name}": epoch / 100 for name in names} | {"train/loss": 1 / (epoch + 1), "lr": 1e-3}
                log.write(json.dumps({"epoch": epoch, "time": START + epoch, "metrics": metrics}) + "\n")
        return self

    def end(
        self,
        state: str = "COMPLETE",
        reason: str | None = None,
        artifacts: tuple[str, ...] = (),
        **metrics: float,
    ) -> FakeRun:
        found = {
            "val/jaccard_macro": 0.5,
            "cost/seconds": 3.0,
            "cost/device_seconds": 6.0,
            "cost/features_seconds": 1.0,
            "parameters/trained": 1000,
            "labelled_images": 12,
        } | metrics
        result = {
            "state": state,
            "reason": reason,
            "started": START - 1,
            "ended": START + 50,
            "metrics": found,
            "best_epoch": 3,
            "artifacts": list(artifacts),
        }
        partial = self.folder / ".result"
        partial.write_text(json.dumps(result))
        partial.replace(self.folder / "result.json")
        return self

    def end_final(self, generator: np.random.Generator, skill: float = 0.8) -> FakeRun:
        """End as a final: confusion matrices of three images, the scores that follow from them, a picture, weights."""
        names = ["confusion.npz", "predictions.npz", "best.safetensors"]
        confusion_NKK = random_confusions(generator, skill)
        np.savez_compressed(
            self.folder / names[0],
            confusion_NKK=confusion_NKK,
            images_N=np.array(["a", "b", "c"]),
            class_names_K=np.array(CLASSES),
            ignore_id=np.int64(0),
        )
        found = {f"test/{name}": value for name, value in scores(confusion_NKK.sum(0), 0).items()}
        write_predictions(self.folder / names[1], generator, skill, found["test/jaccard_macro"])
        (self.folder / names[2]).write_bytes(b"weights")
        return self.end(artifacts=tuple(names), **found)


def random_confusions(generator: np.random.Generator, skill: float) -> np.ndarray:
    classes = len(CLASSES)
    confusion = generator.integers(0, 40, (3, classes, classes))
    confusion[:, range(classes), range(classes)] += int(400 * skill)
    confusion[:, 0] = 0
    return confusion


def write_predictions(path: Path, generator: np.random.Generator, skill: float, score: float) -> None:
    """Blocks of classes, some unlabelled, and predictions that are wrong here and there."""
    labels_HW = np.kron(np.random.default_rng(0).integers(0, len(CLASSES), (6, 8)), np.ones((8, 8), int))
    guess_HW = generator.integers(1, len(CLASSES), labels_HW.shape)
    right = generator.random(labels_HW.shape) < skill
    colours = np.array([[0, 0, 0], [230, 190, 60], [90, 180, 90], [20, 90, 60]], np.uint8)
    noise = np.random.default_rng(1).integers(-20, 20, (*labels_HW.shape, 3))
    np.savez_compressed(
        path,
        rgb_HW3=np.clip(colours[labels_HW].astype(int) + 30 + noise, 0, 255).astype(np.uint8),
        labels_HW=labels_HW,
        prediction_HW=np.where(right & (labels_HW > 0), labels_HW, guess_HW),
        class_rgb_K3=colours,
        class_names_K=np.array(CLASSES),
        ignore_id=np.int64(0),
        score=np.float64(score),
    )
