"""The Ray that a sweep runs on, and how many of its runs fit there at a time: nodes come and go meanwhile."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.exceptions import AuthenticationError

from hsray.errors import RequestError
from hsray.experiment import Resources
from hsray.sweep.cluster.head import leave, watching_head
from hsray.sweep.cluster.localray import start_local_ray
from hsray.sweep.cluster.needs import Need, Node, need, needs, room
from hsray.sweep.cluster.orphans import free_orphans

REACH_SECONDS = 10.0
LOOK_SECONDS = 2.0  # how old what we know of the nodes may be
GROWS = "HSRAY_AUTOSCALING"  # set where an autoscaler starts nodes for what waits


class Slots:
    """What a run of each kind needs, and how many fit into the cluster as it is now.

    Raises:
        RequestError: a run of some kind does not fit even into the idle cluster; with the arithmetic.
    """

    def __init__(
        self, resources: Resources, look: Callable[[], list[Node]], tidy: Callable[[], Any] = lambda: None
    ) -> None:
        self._tidy = tidy
        self._look, self._nodes, self._looked = look, look(), time.monotonic()
        self._start, self._most = self._nodes, resources.concurrent
        self._grows = os.environ.get(GROWS, "0") not in ("", "0")
        self.kinds = needs(resources, self._start)
        for kind in self.kinds:
            if room(self._nodes, [], kind) < 1:
                raise _too_much(kind, self._nodes)

    def need(self, resources: Resources) -> Need:
        """What a run with these resources (a cell's) takes. What is `auto` was settled when the sweep started."""
        return need(resources, self._start, self.kinds[0].spare)

    def room(self, live: Collection[Need], wanted: Need, *, ahead: bool = False) -> bool:
        """Is there room for one more run beside those under way? `ahead`: where nodes are started for what waits, one
        of all these may wait."""
        if self._most is not None and len(live) >= self._most:
            return False
        # With several workers a run waits until Ray has room for all: beside runs of other kinds, whose idle actors
        # keep their cores, it could wait for ever.
        if any(other.workers > 1 or wanted.workers > 1 for other in live if other != wanted):
            return False
        if room(self.nodes(), live, wanted) > 0:
            return True
        # One run that waits is what makes an autoscaler start a node; then there is room for it, and one more may wait.
        if not ahead or not self._grows:
            return False
        return any(room(self.nodes(), _but_one(live, one), wanted) > 0 for one in set(live))

    def missing(self, live: Collection[Need]) -> str | None:
        """Which run under way no node can hold even alone, and what the nodes have; None where all can run."""
        for kind in sorted(set(live), key=str):
            if room(self.nodes(), [], kind) < 1:
                listed = "; ".join(_listed(node, kind) for node in self.nodes()) or "none"
                return f"it needs {kind}; the nodes have {listed}"
        return None

    def nodes(self) -> list[Node]:
        """The nodes that are alive, a few seconds old at most."""
        if time.monotonic() - self._looked > LOOK_SECONDS:
            self._nodes, self._looked = self._look(), time.monotonic()
            if any(kind.workers > 1 for kind in self.kinds):
                self._tidy()
        return self._nodes

    @property
    def count(self) -> int:
        """How many runs fit at a time now, of the kind of which most fit."""
        most = max(room(self.nodes(), [], kind) for kind in self.kinds)
        return min(most, self._most or most)


def _but_one(live: Collection[Need], one: Need) -> list[Need]:
    others = list(live)
    others.remove(one)
    return others


@contextmanager
def cluster(resources: Resources) -> Iterator[Slots]:
    """A local Ray, or the cluster of RAY_ADDRESS, for the time of the sweep.

    Raises:
        RequestError: the cluster does not answer, or a run does not fit into it.
    """
    # Tune writes nothing we read again; its loggers and its own reports would only cost time.
    os.environ.setdefault("TUNE_DISABLE_AUTO_CALLBACK_LOGGERS", "1")
    os.environ.setdefault("TUNE_PRINT_ALL_TRIAL_ERRORS", "0")
    os.environ.setdefault("RAY_AIR_NEW_OUTPUT", "0")
    own = not ray.is_initialized()
    if own:
        options: dict[str, Any] = {"logging_level": "error", "log_to_driver": False}
        try:
            if address := os.environ.get("RAY_ADDRESS"):
                _reach(address)
                _join(address, options)
            else:
                # A Ray of our own, not one that happens to run on this machine. Ray Train's clean-up after a stopped
                # trial asks the dashboard's State API.
                start_local_ray(include_dashboard=resources.several_workers, **options)
        except ConnectionError as error:
            raise RequestError(
                f"the Ray cluster does not answer: {error}",
                where=f"RAY_ADDRESS={os.environ.get('RAY_ADDRESS')}",
                do="start it (`ray start --head`), mend RAY_ADDRESS, or unset it to run on this machine",
            ) from None
    try:
        with watching_head():
            yield Slots(resources, alive_nodes, free_orphans)
    finally:
        if own:
            ray.shutdown()


def _join(address: str, options: dict[str, Any]) -> None:
    try:
        ray.init(**options)
    except AuthenticationError:
        raise RequestError(
            "the Ray cluster does not take this machine's token",
            where=f"RAY_ADDRESS={address}",
            do="set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a copy of the head's ~/.ray/auth_token",
        ) from None
    except RuntimeError as error:  # such as other versions of Ray or Python there
        raise RequestError(
            f"the Ray cluster cannot be joined: {str(error).strip().splitlines()[0]}",
            where=f"RAY_ADDRESS={address}",
            do="install the same Python and packages here and there",
        ) from None


def _reach(address: str) -> None:
    """Ray itself tries for minutes. Raises ConnectionError where nobody listens at `host:port`."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in address:
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=REACH_SECONDS).close()
        except OSError as error:
            raise ConnectionError(error.strerror or str(error)) from None


def alive_nodes() -> list[Node]:
    """The nodes of the cluster that this process is connected to."""
    alive = {node["NodeID"]: node for node in ray.nodes() if node["Alive"]}
    context = ray.get_runtime_context()
    if context.get_node_id() not in alive:  # a node that was given up does not come back, and its driver waits for ever
        leave("this machine's node of the Ray cluster is gone", context.gcs_address)
    return [Node(node["Resources"], node.get("Labels") or {}) for node in alive.values()]


def _too_much(kind: Need, nodes: list[Node]) -> RequestError:
    one = kind.model_copy(update={"workers": 1})
    listed = "; ".join(_listed(node, kind) for node in nodes)
    return RequestError(
        f"one run needs {kind}, and there is room for {room(nodes, [], one)}",
        where=f"resources; the nodes have {listed}",
        do="lower resources.workers, cpus or gpus, or give Ray more",
    )


def _listed(node: Node, kind: Need) -> str:
    have = [f"{node.resources.get('CPU', 0):g} CPU", f"{node.resources.get('GPU', 0):g} GPU"]
    have += [f"{node.resources.get(name, 0):g} {name}" for name, _ in kind.custom]
    return ", ".join(have + [f"{key}: {node.labels.get(key, 'none')}" for key, _ in kind.labels])
