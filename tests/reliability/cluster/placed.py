"""A sweep of empty runs that note where they ran: `python -m tests.reliability.cluster.placed FOLDER RESOURCES`."""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import ray

from hsray.experiment import parse_experiment
from hsray.sweep.cells import cells
from hsray.sweep.cluster.cluster import cluster
from hsray.sweep.dispatcher import Dispatcher
from hsray.sweep.drive import drive
from hsray.sweep.jobs import Job
from tests.benchmarks.empty import run_empty
from tests.tiny import tiny_store


def note_place(config: dict[str, Any]) -> None:
    """`place.json` in the run's folder: the labels of its node, and the GPUs that it sees, and when it ran."""
    me = ray.get_runtime_context().get_node_id()
    [labels] = [node["Labels"] for node in ray.nodes() if node["NodeID"] == me]
    job = Job.model_validate_json(config["job"])
    begun = time.time()
    gpus = os.environ.get("CUDA_VISIBLE_DEVICES", "")
    if gpus:  # wait for others that fit: a run that is over hands its actor on before another one is up
        (job.folder / "on-gpu").touch()
        while len(list(job.folder.parent.glob("*/on-gpu"))) < 3 and time.time() < begun + 120:
            time.sleep(0.2)
    place = {"strategy": job.config.strategy.name, "labels": labels, "gpus": gpus, "from": begun, "to": time.time()}
    (job.folder / "place.json").write_text(json.dumps(place))
    run_empty(config)


def main() -> None:
    folder, resources = Path(sys.argv[1]), json.loads(sys.argv[2])
    tiny_store(folder / "data")
    content = {
        "name": "placed", "task": "spectral", "search": {"lr": {"log": [1e-4, 1e-1]}},
        "axes": {"dataset": ["tiny"], "strategy": ["fc", "mlp"]}, "final": {"seeds": 0},
        "budget": {"trials": 4, "epochs": 3, "halving": False}, "resources": resources,
    }  # fmt: skip
    experiment = parse_experiment(content)
    runs = folder / "runs"
    runs.mkdir()
    with cluster(experiment.resources) as slots:
        dispatcher = Dispatcher(experiment, cells(experiment, folder / "data"), runs, folder / "cache")
        drive(dispatcher, experiment.resources, slots, runs, note_place)
    places = [json.loads(path.read_text()) for path in runs.rglob("place.json")]
    print("=" + json.dumps(places))


if __name__ == "__main__":
    main()
