"""Runs the smoke variant of every experiment file on small simulated raw files: `make smoke`. Exit 1 names gaps."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from hsray.axes import axis_name, left_out
from hsray.experiment import Experiment, load_experiment
from tests.smoke.inputs import prepare_benchmark, write_weights

ROOT = Path(__file__).resolve().parents[2]


def main(files: list[Path]) -> int:
    started, gaps = time.monotonic(), []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prepare_benchmark(folder / "raw", folder / "data")
        print(f"raw files written and prepared: {time.monotonic() - started:.0f} s", flush=True)
        for file in files:
            begun = time.monotonic()
            gaps += [f"{file.name}: {gap}" for gap in _run(file, folder)]
            print(f"{file.name}: {time.monotonic() - begun:.0f} s", flush=True)
    print("\n".join(gaps) or f"all ran, {time.monotonic() - started:.0f} s in all")
    return 1 if gaps else 0


def _run(file: Path, folder: Path) -> list[str]:
    experiment = load_experiment(file, smoke=True)
    write_weights(experiment, folder / "weights")
    done = _hsray(folder, "sweep", str(file), "--smoke")
    if done.returncode:
        return [f"hsray sweep ended with {done.returncode}:\n{done.stderr[-3000:]}"]
    board = _hsray(folder, "leaderboard", experiment.name, "--format", "json")
    if board.returncode:
        return [f"hsray leaderboard ended with {board.returncode}:\n{board.stderr[-3000:]}"]
    rows = json.loads(board.stdout)["rows"]
    found = {(row["dataset"], row["strategy"]) for row in rows}
    missing = sorted(_wanted(experiment) - found)
    return [f"no row for {strategy} on {dataset}\n{done.stderr[-2000:]}" for dataset, strategy in missing]


def _wanted(experiment: Experiment) -> set[tuple[str, str]]:
    pairs = {(dataset, axis_name(one)) for dataset in experiment.axes["dataset"] for one in experiment.axes["strategy"]}
    outside = [one for one in experiment.without if set(one) <= {"dataset", "strategy"}]
    return {(d, s) for d, s in pairs if not left_out(outside, {"dataset": d, "strategy": s})}


def _hsray(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = {"HSRAY_DATA": "data", "HSRAY_RUNS": "runs", "HSRAY_WEIGHTS": str(folder / "weights"), "OMP_NUM_THREADS": "1"}
    kept = {key: value for key, value in os.environ.items() if key not in ("MLFLOW_TRACKING_URI", "RAY_ADDRESS")}
    command = [sys.executable, "-m", "hsray.cli", *arguments]
    return subprocess.run(command, cwd=folder, env=kept | own, capture_output=True, text=True, check=False)


if __name__ == "__main__":
    named = [Path(one).resolve() for one in sys.argv[1:]]
    sys.exit(main(named or sorted((ROOT / "experiments").glob("hs3bench-*.yaml"))))
