"""What the cluster lacks for a sweep: a dashboard, data on every node, folders that all nodes share."""

from __future__ import annotations

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy
from ray.util.state import list_actors
from ray.util.state.exception import RayStateApiException

from hsray.errors import RequestError, problems
from hsray.experiment import Experiment
from hsray.strategies.references import is_named
from hsray.sweep.cells import Cell
from hsray.sweep.cluster.cluster import Slots
from hsray.sweep.preflight.disk import existing, room_problems, wanted_features
from hsray.sweep.preflight.memory import Memories
from hsray.sweep.preflight.nodes import Expected, answered, look, sizes
from hsray.sweep.preflight.plan import need_problems, rooms

ANSWER_SECONDS = 60.0  # a node imports hsray, and may have to read published files once
NONCE = ".preflight-"


def preflight(
    experiment: Experiment,
    cells: list[Cell],
    memories: Memories,
    folder: Path,
    cache: Path,
    slots: Slots,
    *,
    local: bool,
) -> None:
    """What `plan` checks, on the cluster that this process is connected to; `local`: the nodes write into `folder`.

    Raises:
        RequestError: all that cannot work.
    """
    shared = [path for path in shared_folders(cells, folder, cache) if local or path != folder]
    found = cluster_problems(experiment, cells, shared) + need_problems(slots.kinds)
    found += room_problems(rooms(experiment, cells, memories, folder, cache, slots.count, local=local))
    if found:
        raise problems(found, "the sweep cannot run")


def cluster_problems(experiment: Experiment, cells: list[Cell], folders: list[Path]) -> list[RequestError]:
    """Ask the cluster that this process is connected to; `folders` are those that all nodes write or read.

    What other nodes see is asked where there are others: this one sees what the driver sees.
    """
    found = _dashboard_problems(experiment)
    others = [node for node in ray.nodes() if node["Alive"] and node["NodeID"] != _own_node()]
    return found + (_node_problems(cells, folders, others) if others else [])


def shared_folders(cells: list[Cell], folder: Path, cache: Path) -> list[Path]:
    """The sweep's folder, and that of features where any will be computed: by one node, for all."""
    computed = any(not path.is_dir() for path in wanted_features(cells, cache))
    return [folder, cache] if computed else [folder]


def _dashboard_problems(experiment: Experiment) -> list[RequestError]:
    """After a stopped trial with several workers, Ray Train asks the dashboard's State API whether it still lives."""
    if not experiment.resources.several_workers:
        return []
    address = ray.get_runtime_context().gcs_address  # not of another Ray that happens to run on this machine
    try:
        list_actors(address=address, limit=1, timeout=10)
    except (RayStateApiException, ConnectionError, RuntimeError, ValueError) as error:
        return [
            RequestError(
                f"runs with several workers need Ray's dashboard, which does not answer: {_first_line(error)}",
                where=f"resources.workers; the cluster at {address}",
                do="start the head node with `ray start --head --include-dashboard=true` (pip install 'ray[default]')",
            )
        ]
    return []


def _node_problems(cells: list[Cell], shared: list[Path], nodes: list[dict]) -> list[RequestError]:
    with _nonces(shared) as nonces:
        expected = Expected(
            {str(cell.store.path): (cell.store.fingerprint, sizes(cell.store)) for cell in cells},
            {path: os.path.getsize(path) for path in _weight_files(cells)},
            nonces,
        )
        tasks = {}
        for node in nodes:
            there = NodeAffinitySchedulingStrategy(node["NodeID"], soft=False)
            task: Any = ray.remote(look)
            options = {"num_cpus": 0, "max_retries": 0, "scheduling_strategy": there}
            tasks[task.options(**options).remote(expected, node["NodeID"])] = node
        ended, silent = ray.wait(list(tasks), num_returns=len(tasks), timeout=ANSWER_SECONDS)
        found: dict[tuple[str, str, str], list[str]] = {}
        for task in ended:
            try:
                wrong = ray.get(task)
                wrong = wrong or answered(expected, tasks[task]["NodeID"])
            except RayError as error:
                do = "install the same hsray on all nodes, or end that node"
                wrong = [(f"hsray cannot run on a node: {_first_line(error)}", "", do)]
            for one in wrong:
                found.setdefault(one, []).append(_name(tasks[task]))
        for task in silent:
            ray.cancel(task, force=True)
            one = (
                f"a node has not answered in {ANSWER_SECONDS:.0f} s",
                "",
                "end that node, or look what it is busy with",
            )
            found.setdefault(one, []).append(_name(tasks[task]))
    return [
        RequestError(what, where=f"{where + '; ' if where else ''}node {', '.join(names)}", do=do)
        for (what, where, do), names in found.items()
    ]


@contextmanager
def _nonces(shared: list[Path]) -> Iterator[dict[str, str]]:
    """A file of a random content in each of the folders, or the nearest above that is there; taken away afterwards."""
    nonces, made = {}, []
    try:
        for folder in dict.fromkeys(existing(folder) for folder in shared):
            scratch = folder / f"{NONCE}{uuid.uuid4().hex}"
            try:
                scratch.mkdir()
                made.append(scratch)
                (scratch / "driver").write_text(scratch.name, "utf-8")
            except OSError as error:
                do = "make it writable, or name another folder"
                raise RequestError(f"a folder cannot be written: {error.strerror}", where=str(folder), do=do) from None
            nonces[str(scratch / "driver")] = scratch.name
        yield nonces
    finally:
        for scratch in made:
            shutil.rmtree(scratch, ignore_errors=True)


def _weight_files(cells: list[Cell]) -> set[str]:
    """Files that every node must have; what a package or a library brings is that node's own."""
    references = {cell.strategy.encoder.located().weights for cell in cells if cell.strategy.encoder is not None}
    return {one for one in references if one is not None and not is_named(one)}


def _own_node() -> str:
    return ray.get_runtime_context().get_node_id()


def _name(node: dict) -> str:
    return f"{node['NodeManagerHostname']} ({node['NodeManagerAddress']})"


def _first_line(error: Exception) -> str:
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return (lines[-1] if isinstance(error, RayError) else lines[0]).strip()[:200] if lines else type(error).__name__
