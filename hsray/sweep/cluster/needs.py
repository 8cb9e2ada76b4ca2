"""What a run needs, what nodes have, and how many runs fit beside each other. Arithmetic only, without Ray."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from pydantic import BaseModel, ConfigDict

from hsray.experiment import Resources

DRIVER_CPU = 0.01  # what the trial that starts a Ray Train job takes beside its workers
EXACT = 1e-6  # Ray counts in ten-thousandths


@dataclass(frozen=True)
class Node:
    """What a node has in all, and its labels."""

    resources: dict[str, float]
    labels: dict[str, str] = field(default_factory=dict)


class Need(BaseModel):
    """What one run takes: `workers` times (`cpu`, `gpu`, `custom`), on nodes with these labels.

    `spare` is what each worker leaves of its CPU to drivers: full nodes cannot leave a driver without its workers.
    """

    model_config = ConfigDict(frozen=True)
    workers: int
    cpu: float
    gpu: float
    custom: tuple[tuple[str, float], ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    spare: float = 0.0

    @property
    def each(self) -> dict[str, float]:
        """What Ray is asked for a worker."""
        share = {"CPU": self.cpu - self.spare} | ({"GPU": self.gpu} if self.gpu else {})
        return share | dict(self.custom)

    @property
    def held(self) -> dict[str, float]:
        """What a worker takes from its node in our arithmetic: its driver's share is part of it."""
        return self.each | {"CPU": self.cpu}

    def __str__(self) -> str:
        what = [f"{self.cpu:g} CPU", f"{self.gpu:g} GPU", *(f"{amount:g} {name}" for name, amount in self.custom)]
        where = f" on nodes with {', '.join(f'{key}: {value}' for key, value in self.labels)}" if self.labels else ""
        return f"{self.workers} worker{'s' if self.workers > 1 else ''} × ({', '.join(what)}){where}"


def needs(resources: Resources, nodes: list[Node]) -> list[Need]:
    """The kinds of runs of a sweep; `gpus: auto` is one a worker where some node has a GPU."""
    spare = DRIVER_CPU if resources.several_workers else 0.0
    return list(dict.fromkeys(need(kind, nodes, spare) for kind in resources.kinds()))


def need(kind: Resources, nodes: list[Node], spare: float) -> Need:
    """One kind of run; nothing of it follows from an axis any more."""
    what = {
        "workers": kind.workers,
        "cpu": kind.cpus,
        "gpu": any(node.resources.get("GPU") for node in nodes) if kind.gpus == "auto" else kind.gpus,
        "custom": sorted(kind.custom.items()),
        "labels": sorted(kind.labels.items()),
        "spare": spare,
    }
    return Need.model_validate(what)


def room(nodes: list[Node], live: Iterable[Need], wanted: Need) -> int:
    """How many runs of a kind fit beside those under way; 0 while one of those is waiting for a node itself.

    A worker stays within one node. Nodes that have little else to offer are filled first.
    """
    free = [(dict(node.resources), node.labels) for node in sorted(nodes, key=lambda node: _richness(node.resources))]
    counts: dict[Need, int] = {}
    for one in live:
        counts[one] = counts.get(one, 0) + one.workers
    for one in sorted(counts, key=lambda one: -_richness(one.held)):
        for have, labels in free:
            if not _matches(labels, one):
                continue
            here = min(counts[one], _fits(have, one))
            counts[one] -= here
            for name, amount in one.held.items():
                have[name] = have.get(name, 0) - here * amount
        if counts[one]:
            return 0
    return sum(_fits(have, wanted) for have, labels in free if _matches(labels, wanted)) // wanted.workers


def _fits(have: dict[str, float], one: Need) -> int:
    return max(0, min(int((have.get(name, 0) + EXACT) // amount) for name, amount in one.held.items()))


def _richness(resources: dict[str, float]) -> float:
    """GPUs and custom resources before CPUs."""
    own = sum(name not in ("CPU", "memory", "object_store_memory") and ":" not in name for name in resources)
    return own * 1e6 + resources.get("CPU", 0)


def _matches(labels: dict[str, str], one: Need) -> bool:
    return all(_selects(labels.get(key), selector) for key, selector in one.labels)


def _selects(value: str | None, selector: str) -> bool:
    """Ray's label selectors: `eu`, `!eu`, `in(eu,us)`, `!in(eu,us)`."""
    negated = selector.startswith("!")
    within = re.fullmatch(r"in\((.*)\)", selector.lstrip("!").strip())
    wanted = [one.strip() for one in within[1].split(",")] if within else [selector.lstrip("!").strip()]
    return (value in wanted) != negated
