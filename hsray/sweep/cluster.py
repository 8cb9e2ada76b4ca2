"""The Ray that a sweep runs on, and how many of its runs fit there at a time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import ray

from hsray.errors import RequestError
from hsray.experiment import Resources

DRIVER_CPU = 0.01  # what the trial that starts a Ray Train job takes beside its workers


@dataclass(frozen=True)
class Slots:
    """How many runs fit at a time, and what each worker of a run gets."""

    count: int
    cpu: float
    gpu: float


@contextmanager
def cluster(resources: Resources) -> Iterator[Slots]:
    """A local Ray, or the cluster of RAY_ADDRESS, for the time of the sweep."""
    # Tune writes nothing we read again; its loggers and its own reports would only cost time.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    own = not ray.is_initialized()
    if own:
        # Ray Train's clean-up after a stopped trial asks the dashboard's State API.
        options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        if "RAY_ADDRESS" not in os.environ:
            options["include_dashboard"] = resources.workers > 1
        try:
            ray.init(**options)
        except ConnectionError as error:
            raise RequestError(
                f"the Ray cluster does not answer: {error}",
                where=f"RAY_ADDRESS={os.environ.get('RAY_ADDRESS')}",
                do="start it (`ray start --head`), mend RAY_ADDRESS, or unset it to run on this machine",
            ) from None
    try:
        yield slots(resources, [node["Resources"] for node in ray.nodes() if node["Alive"]])
    finally:
        if own:
            ray.shutdown()


def slots(resources: Resources, nodes: list[dict[str, float]]) -> Slots:
    """How many runs fit into a cluster of nodes with these resources; a worker stays within one node.

    Raises:
        RequestError: not even one fits; with the arithmetic.
    """
    has_gpus = any(node.get("GPU") for node in nodes)
    gpu = float(has_gpus) if resources.gpus == "auto" else float(resources.gpus)
    workers = resources.workers
    # Every worker gives up what its driver may take, so that full nodes cannot leave a driver without its workers.
    cpu = resources.cpus - (DRIVER_CPU if workers > 1 else 0)
    needs = {"CPU": resources.cpus} | ({"GPU": gpu} if gpu else {})
    room = sum(min(int((node.get(kind, 0) + 1e-6) // need) for kind, need in needs.items()) for node in nodes)
    count = room // workers
    if count < 1:
        raise RequestError(
            f"one run needs {workers} workers × ({resources.cpus:g} CPU, {gpu:g} GPU), and there is room for {room}",
            where=f"resources; the nodes have {_listed(nodes)}",
            do="lower resources.workers, cpus or gpus, or give Ray more",
        )
    return Slots(min(count, resources.concurrent or count), cpu, gpu)


def _listed(nodes: list[dict[str, float]]) -> str:
    return "; ".join(f"{node.get('CPU', 0):g} CPU, {node.get('GPU', 0):g} GPU" for node in nodes)
