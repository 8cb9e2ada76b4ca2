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
        yield slots(resources, ray.cluster_resources())
    finally:
        if own:
            ray.shutdown()


def slots(resources: Resources, cluster: dict[str, float]) -> Slots:
    """How many runs fit into a cluster's resources.

    Raises:
        RequestError: not even one fits; with the arithmetic.
    """
    gpu = (1.0 if cluster.get("GPU") else 0.0) if resources.gpus == "auto" else float(resources.gpus)
    cpu, workers = resources.cpus, resources.workers
    driver = DRIVER_CPU if workers > 1 else 0.0
    need = {"CPU": cpu * workers + driver, "GPU": gpu * workers}
    if workers > 1 and need["CPU"] > cluster.get("CPU", 0) >= cpu * workers:
        # The driver's hundredth of a core must not cost a whole worker.
        cpu = (cluster["CPU"] - driver) / workers
        need["CPU"] = cluster["CPU"]
    fits = [int((cluster.get(kind, 0) + 1e-6) // amount) for kind, amount in need.items() if amount > 0]
    count = min(fits)
    if count < 1:
        text = ", ".join(f"{amount:g} {kind} of {cluster.get(kind, 0):g}" for kind, amount in need.items() if amount)
        raise RequestError(
            f"one run needs {text}: {workers} workers × ({cpu:g} CPU, {gpu:g} GPU) + {driver:g} CPU",
            where="resources",
            do="lower resources.workers, cpus or gpus, or give Ray more",
        )
    return Slots(min(count, resources.concurrent or count), cpu, gpu)
