"""What a run's folder says, for those who only read it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hsray.errors import HsrayError
from hsray.runlog import RESULT, read_epochs


@dataclass(frozen=True)
class RunRecord:
    """One reading of a run's folder. `epochs` holds the last record of every epoch, in order."""

    folder: Path
    spec: dict[str, Any]
    epochs: list[dict[str, Any]]
    result: dict[str, Any] | None
    touched_ms: int

    @property
    def key(self) -> str:
        return self.spec["key"]

    @property
    def manifest(self) -> Path:
        """`<sweep>/manifest.json`; the run lies in `<sweep>/cells/<cell>/<run>`."""
        return self.folder.parents[2] / "manifest.json"

    @property
    def started_ms(self) -> int:
        """When the run started; without a result yet, when its specification or its first epoch was written."""
        if self.result:
            return ms(self.result["started"])
        written = ms((self.folder / "spec.json").stat().st_mtime)
        return min([written, *(ms(epoch["time"]) for epoch in self.epochs[:1])])


def read_run(folder: Path, *, epochs: bool = True) -> RunRecord:
    """Read a run's folder, with its epochs or, faster, without.

    Raises:
        HsrayError: it has no readable specification or a broken result.
    """
    spec = _content(folder / "spec.json", ("key", "kind", "cell", "name", "tags", "params"))
    # The result first: once it is there, the log is complete.
    path = folder / RESULT
    result = _content(path, ("state", "reason", "started", "ended", "metrics", "artifacts")) if path.exists() else None
    log = folder / "epochs.jsonl"
    by_epoch = {record["epoch"]: record for record in read_epochs(folder)} if epochs else {}
    touched = max(path.stat().st_mtime for path in (log, folder / "spec.json") if path.exists())
    return RunRecord(folder, spec, [by_epoch[epoch] for epoch in sorted(by_epoch)], result, ms(touched))


def run_folders(sweep_dir: Path) -> list[Path]:
    return [path.parent for path in sorted(sweep_dir.glob("cells/*/*/spec.json"))]


def run_key(folder: Path) -> str:
    """What identifies a run, without reading all of its folder.

    Raises:
        HsrayError: the specification cannot be read.
    """
    return _content(folder / "spec.json", ("key",))["key"]


def ms(seconds: float) -> int:
    return int(seconds * 1000)


def _content(path: Path, fields: tuple[str, ...]) -> dict[str, Any]:
    try:
        content = json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise HsrayError(f"a run's folder cannot be read: {error}", where=str(path)) from None
    if not isinstance(content, dict):
        raise HsrayError("a run's folder cannot be read: this is no JSON object", where=str(path))
    missing = [field for field in fields if field not in content]
    if missing:
        raise HsrayError(f"a run's folder cannot be read: no {', '.join(missing)}", where=str(path))
    return content
