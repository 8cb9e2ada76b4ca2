"""The folder of a pretraining, `<out>.run`, from which MLflow is written: one run, however often it is interrupted."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

from hsray.digest import digest
from hsray.pretraining.recipe import Recipe
from hsray.runlog import append_epoch, keep_epochs, read_json, write_json

EXPERIMENT = "pretraining"
SUFFIXES = (".safetensors", ".json", ".md", ".png")


class RunFolder:
    """Specification, loss curve and result of one pretraining, in the form that the tracker reads."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def ended(self) -> bool:
        """Did the pretraining end well?"""
        return (read_json(self.path / "result.json") or {}).get("state") == "COMPLETE"

    @property
    def reason(self) -> str | None:
        """Why it failed by its own doing, if it did."""
        return (read_json(self.path / "result.json") or {}).get("reason")

    def belongs_to(self, recipe: Recipe) -> bool:
        """Was it begun by this recipe?"""
        return (read_json(self.path / "spec.json") or {}).get("recipe") == recipe.fingerprint

    def begin(self, recipe: Recipe) -> None:
        """Begin, or go on with the same recipe; another recipe's folder is begun anew."""
        (self.path / "result.json").unlink(missing_ok=True)
        if self.belongs_to(recipe):
            return
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.mkdir(parents=True)
        content = recipe.model_dump(mode="json")
        write_json(
            self.path / "spec.json",
            {
                "key": f"pretraining-{recipe.fingerprint}-{digest([str(self.path.resolve()), time.time()])}",
                "kind": "pretraining",
                "cell": recipe.name,
                "name": recipe.name,
                "recipe": recipe.fingerprint,
                "tags": {"hsray.recipe": recipe.fingerprint},
                "params": dict(_flat({**content, "sources": [one["name"] for one in content["sources"]]})),
            },
        )

    def forget_after(self, step: int) -> None:
        """Forget what was logged after a checkpoint; it is logged again."""
        keep_epochs(self.path, step + 1)

    def log(self, step: int, metrics: dict[str, float]) -> None:
        append_epoch(self.path, step, metrics)

    def end(self, started: float, weights: Path, manifest: dict[str, Any]) -> None:
        """It ended well; the weights and their card are its artefacts."""
        write_json(self.path / "manifest.json", manifest)
        files = [weights.with_suffix(suffix).resolve() for suffix in SUFFIXES] + [Path("manifest.json")]
        card = read_json(weights.with_suffix(".json")) or {}
        metrics = {"cost/seconds": card["seconds"], "parameters/total": card["parameters"], "spectra": card["spectra"]}
        self._result("COMPLETE", None, started, metrics, [str(file) for file in files])

    def fail(self, started: float, reason: str) -> None:
        self._result("FAILED", reason, started, {}, [])

    def _result(
        self, state: str, reason: str | None, started: float, metrics: dict[str, float], artifacts: list[str]
    ) -> None:
        times = {"started": started, "ended": time.time()}
        write_json(
            self.path / "result.json",
            {"state": state, "reason": reason, **times, "metrics": metrics, "artifacts": artifacts},
        )


def _flat(content: dict[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Nested keys as MLflow's parameters: `grid.bands`."""
    found: list[tuple[str, Any]] = []
    for name, value in content.items():
        found += _flat(value, f"{prefix}{name}.") if isinstance(value, dict) else [(f"{prefix}{name}", value)]
    return found
