"""A folder as hsray leaves it (runs, MLflow, a prepared dataset), made without training, and a dashboard over it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hsray.datasets.classes import ClassInfo
from hsray.datasets.store import SPLITS
from hsray.datasets.writer import Plan, StoreWriter
from hsray.scores import scores
from hsray.tracking import Tracker
from tests.tracking.folders import CLASSES, HERE, FakeRun, write_predictions

STRATEGIES = ("runet", "efficientnet", "hypersl")
FRACTIONS = (0.25, 1.0)
SEEDS = 3
LABELS_HW = np.kron(np.random.default_rng(0).integers(0, len(CLASSES), (6, 8)), np.ones((8, 8), int))
TEST_HW = {"test-0": LABELS_HW, "test-1": LABELS_HW[::-1], "test-2": LABELS_HW[:, ::-1]}
BANDS = 20


def make_folder(folder: Path) -> Path:
    """Trials and finals of three strategies at two fractions, delivered to `mlflow.db`, and their dataset."""
    sweep_dir = folder / "runs" / "demo"
    generator = np.random.default_rng(7)
    runs = []
    for place, (strategy, fraction) in enumerate((s, f) for s in STRATEGIES for f in FRACTIONS):
        for number in range(3):
            runs.append(FakeRun(sweep_dir, "trial", number, strategy=strategy, fraction=fraction))
            runs[-1].start().epochs(0, 5 + number).end(**{"val/jaccard_macro": 0.3 + 0.01 * number})
        for seed in range(SEEDS):
            runs.append(FakeRun(sweep_dir, "final", seed, strategy=strategy, fraction=fraction))
            _end(runs[-1].start().epochs(0, 4), generator, skill=0.5 + 0.07 * place)
    cells = [{"cell": run.cell, "axes": run.axes, "trials": 3, "finals": SEEDS, "redo": None} for run in runs]
    (sweep_dir / "cells.json").write_text(json.dumps([one for n, one in enumerate(cells) if one not in cells[:n]]))
    axes = f"axes: {{dataset: [indian-pines], strategy: {list(STRATEGIES)}, fraction: {list(FRACTIONS)}}}"
    search = "search: {lr: {log: [1.0e-4, 1.0e-1]}}\nbudget: {trials: 3, epochs: 8}\nfinal: {seeds: 3}"
    (sweep_dir / "experiment.yaml").write_text(f"name: demo\ntask: segmentation\n{axes}\n{search}\n")
    tracker = Tracker(f"sqlite:///{folder / 'mlflow.db'}", "demo")
    tracker.reconcile(sweep_dir, HERE)
    assert tracker.flush(120) == 0
    tracker.close()
    _prepare(folder / "data" / "indian-pines")
    return folder


def _end(run: FakeRun, generator: np.random.Generator, skill: float) -> None:
    """End as a final whose predictions, maps and confusion matrices tell the same of the dataset's test images."""
    classes, maps, matrices = len(CLASSES), {}, []
    for labels_HW in TEST_HW.values():
        right_HW = generator.random(labels_HW.shape) < skill
        guess_HW = np.where(right_HW & (labels_HW > 0), labels_HW, generator.integers(1, classes, labels_HW.shape))
        maps[f"prediction_{len(maps)}_HW"] = guess_HW.astype(np.uint8)
        pairs = (labels_HW * classes + guess_HW)[labels_HW > 0]
        matrices.append(np.bincount(pairs, minlength=classes**2).reshape(classes, classes))
    tested = scores(np.sum(matrices, axis=0), 0)
    found = {f"test/{name}": value for name, value in tested.items()}
    images_N = np.array(list(TEST_HW))
    names = {"class_names_K": np.array(CLASSES), "ignore_id": np.int64(0)}
    np.savez(run.folder / "confusion.npz", confusion_NKK=np.stack(matrices), images_N=images_N, **names)
    np.savez(run.folder / "maps.npz", images_N=images_N, **maps)
    write_predictions(run.folder / "predictions.npz", generator, skill, found["test/jaccard_macro"])
    run.end(artifacts=("confusion.npz", "predictions.npz", "maps.npz"), **found)


def _prepare(folder: Path) -> None:
    """The dataset whose first test image the finals' example shows; the value of a pixel tells its row and column."""
    colours = [(0, 0, 0), (230, 190, 60), (90, 180, 90), (20, 90, 60)]
    infos = tuple(ClassInfo(k, name, colours[k], k > 0) for k, name in enumerate(CLASSES))
    splits = {split: list(TEST_HW) if split == "test" else [f"{split}-0"] for split in SPLITS}
    plan = Plan("indian-pines", infos, 0, tuple(np.linspace(400, 1000, BANDS)), splits, (), {"kind": "test"}, False)
    writer = StoreWriter(folder, plan)
    rows, columns = np.indices(LABELS_HW.shape)
    cube_HWC = (100 * rows + columns)[..., None] + np.arange(BANDS) / 100
    for split in SPLITS:
        for image in writer.todo(split):
            writer.write(split, image, cube_HWC.astype(np.float32), TEST_HW.get(image, LABELS_HW))
    writer.finish()


@dataclass(frozen=True)
class Served:
    """A dashboard that runs: its address, the folder it was started in, its process."""

    url: str
    folder: Path
    process: subprocess.Popen[str]


def serve(folder: Path, *options: str, port: int = 0, **environment: str) -> Served:
    """`hsray dashboard` in `folder`, once it answers; on a free port where none is given."""
    port = port or free_port()
    command = [sys.executable, "-m", "hsray.cli", "dashboard", "--no-open", "--port", str(port), *options]
    unset = ("MLFLOW_TRACKING_URI", "HSRAY_DATA", "HSRAY_RUNS", "HSRAY_MIRROR", "RAY_API_SERVER_ADDRESS")
    kept = {name: value for name, value in os.environ.items() if name not in unset} | {"HOME": str(folder)}
    process = subprocess.Popen(
        command, cwd=folder, env=kept | environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    )
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 60
    while time.monotonic() < until and process.poll() is None:
        try:
            with urllib.request.urlopen(f"{url}/_stcore/health", timeout=2) as answer:
                if answer.status == 200:
                    return Served(url, folder, process)
        except OSError:
            time.sleep(0.2)
    process.kill()
    raise AssertionError(f"the dashboard did not start: {process.communicate()[0]}")


def stop(served: Served) -> tuple[int, str]:
    """Ctrl-C; the exit code and all that was printed."""
    served.process.send_signal(signal.SIGINT)
    try:
        out, _ = served.process.communicate(timeout=15)
    except subprocess.TimeoutExpired:
        served.process.kill()
        out, _ = served.process.communicate()
        return -9, out
    return served.process.returncode, out


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
