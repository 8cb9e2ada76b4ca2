"""Faults made for real, each at the instant it is called, to a sweep under way.

A fault gets the stage, does its harm, mends what a person would mend outside of the sweep (starts the server again,
frees the disk), and leaves a complaint where the sweep did not behave meanwhile. The same command again is not its
affair.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil

from tests.reliability.disk import SmallDisk
from tests.reliability.raylets import Raylets
from tests.reliability.scene import Command, Scene
from tests.reliability.watch import Watch
from tests.tracking.stores import Server

STOPS_WITHIN_S = 10  # on idle cores, as the next two
GOES_AT_ONCE_S = 3
DIES_WITHIN_S = 30
RAYS_AGENTS_DIE_WITHIN_S = 120
ACTOR, WORKER = "ImplicitFunc", "RayTrainWorker"  # how Ray titles the processes


def busy() -> float:
    """How many times as long things take here and now, as others compute too."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


@dataclass
class Stage:
    """A sweep under way and what a fault can lay hands on."""

    scene: Scene
    command: Command
    watch: Watch
    draw: random.Random
    server: Server | None = None
    disk: SmallDisk | None = None
    cluster: Raylets | None = None
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def complain(self, words: str) -> None:
        self.complaints.append(words)

    def until(self, holds: Callable[[], object], timeout: float = 60) -> bool:
        """Wait until it holds. False: the command has ended before, or it took too long."""
        end = time.monotonic() + timeout
        while time.monotonic() < end and self.command.running:
            if holds():
                return True
            time.sleep(0.03)
        return False

    def gone(self) -> None:
        """Wait for every process of a command that was killed."""
        patience = DIES_WITHIN_S * busy()
        for process in self.command.survivors(patience, agents=False):  # the scene's end asks for those
            self.complain(f"{process} outlived the killed driver by {patience:.0f} s")
            process.kill()


def driver_kill(stage: Stage) -> None:
    stage.command.signal(signal.SIGKILL)
    stage.command.wait(5)


def driver_term(stage: Stage) -> None:
    _stopped(stage, "SIGTERM", lambda: stage.command.signal(signal.SIGTERM))


def ctrl_c(stage: Stage) -> None:
    _stopped(stage, "Ctrl-C", lambda: stage.command.signal(signal.SIGINT, group=True))


def ctrl_c_twice(stage: Stage) -> None:
    stage.command.signal(signal.SIGINT, group=True)
    time.sleep(stage.draw.uniform(0.2, 2))
    started = time.monotonic()
    stage.command.signal(signal.SIGINT, group=True)
    if stage.command.wait(60) is None:
        stage.complain("it still ran 60 s after the second Ctrl-C")
    elif (took := time.monotonic() - started) > GOES_AT_ONCE_S * busy():
        stage.complain(f"it left {took:.1f} s after the second Ctrl-C")


def _stopped(stage: Stage, what: str, send: Callable[[], None]) -> None:
    """It ends cleanly, soon, and says how to go on."""
    started = time.monotonic()
    send()
    code, took = stage.command.wait(120), time.monotonic() - started
    stage.notes.append(f"ended {took:.1f} s after {what}")
    if code is None:
        stage.complain(f"it still ran 120 s after {what}")
    elif took > STOPS_WITHIN_S * busy():
        stage.complain(f"it ended {took:.1f} s after {what}")
    if code != 0 and stage.watch.epochs and "same command again" not in stage.command.said:
        stage.complain(f"after {what} it did not say how to go on (exit code {code})")


def actor_kill(stage: Stage) -> None:
    _kill_one(stage, ACTOR)


def worker_kill(stage: Stage) -> None:
    _kill_one(stage, WORKER)


def _kill_one(stage: Stage, title: str) -> None:
    """Kill one of the processes with this title, as soon as there is one."""
    found: list[psutil.Process] = []

    def there() -> bool:
        found[:] = stage.command.titled(title)
        return bool(found)

    if stage.until(there):
        stage.draw.choice(sorted(found, key=lambda process: process.pid)).kill()


def node_lost(stage: Stage) -> None:
    """The power of a node goes; another one joins, or does not."""
    assert stage.cluster is not None
    stage.cluster.nodes[-1].kill()
    if stage.draw.random() < 0.5:
        time.sleep(stage.draw.uniform(0, 10))
        stage.cluster.add(1, env=stage.scene.settings)


def mlflow_kill(stage: Stage) -> None:
    assert stage.server is not None
    stage.server.kill()
    time.sleep(stage.draw.uniform(0, 10))
    stage.server.start()


def mlflow_cut(stage: Stage) -> None:
    """It takes connections and does not answer: as behind a network that drops packets."""
    assert stage.server is not None
    assert stage.server.process is not None
    os.killpg(stage.server.process.pid, signal.SIGSTOP)
    time.sleep(stage.draw.uniform(5, 60))
    os.killpg(stage.server.process.pid, signal.SIGCONT)


def disk_full(stage: Stage) -> None:
    """Full for some seconds, in which the command may go on or give up."""
    assert stage.disk is not None
    stage.until(stage.disk.fill, stage.draw.uniform(2, 20))  # again and again: what fails gives its room back
    stage.disk.free()


def checkpoint_noise(stage: Stage) -> None:
    _spoil_checkpoint(stage, lambda content: stage.draw.randbytes(len(content)))


def checkpoint_truncated(stage: Stage) -> None:
    _spoil_checkpoint(stage, lambda content: content[: stage.draw.randrange(len(content))])


def _spoil_checkpoint(stage: Stage, spoilt: Callable[[bytes], bytes]) -> None:
    """Kill the driver while a run has a checkpoint, and spoil that."""
    for _ in range(5):
        stage.until(lambda: list(stage.scene.sweep.glob("cells/*/*/last.pt")))
        driver_kill(stage)
        stage.gone()
        if found := sorted(stage.scene.sweep.glob("cells/*/*/last.pt")):
            path = stage.draw.choice(found)
            path.write_bytes(spoilt(path.read_bytes()))
            stage.watch.last_is_spoilt(path.parent)
            return
        stage.command = stage.scene.start()
    stage.complain("the fault never happened: no run had a checkpoint")


def ledger_noise(stage: Stage) -> None:
    """A few stretches of its file are overwritten."""
    driver_kill(stage)
    stage.gone()
    with (stage.scene.sweep / "ledger.db").open("r+b") as ledger:
        size = ledger.seek(0, 2)
        for _ in range(stage.draw.randint(1, 8)):
            ledger.seek(stage.draw.randrange(max(1, size - 4096)))
            ledger.write(stage.draw.randbytes(stage.draw.randint(512, 4096)))


def ledger_truncated(stage: Stage) -> None:
    driver_kill(stage)
    stage.gone()
    path = stage.scene.sweep / "ledger.db"
    content = path.read_bytes()
    path.write_bytes(content[: stage.draw.randrange(len(content))])


def ledger_deleted(stage: Stage) -> None:
    driver_kill(stage)
    stage.gone()
    for path in stage.scene.sweep.glob("ledger.db*"):
        path.unlink()


def started_twice(stage: Stage) -> None:
    """One of the two is refused and names the other, which does not mind."""
    first, second = stage.command, stage.scene.start()
    end = time.monotonic() + 300
    while first.running and second.running and time.monotonic() < end:
        time.sleep(0.1)
    refused, stage.command = (first, second) if second.running else (second, first)
    code = refused.process.poll()
    if code == 0:
        return  # one came when the other had ended
    if code != 2 or f"process {stage.command.process.pid} " not in refused.said:
        stage.complain(f"none was refused and named the other (exit code {code}): {refused.said[-300:]}")


@dataclass(frozen=True)
class Fault:
    """`shapes`: which sweeps it can befall. `early`: it may also strike before the first epoch. `alone`: nobody has to
    do anything; the command that was under way goes on to the end."""

    strike: Callable[[Stage], None]
    shapes: tuple[str, ...] = ("one", "one", "two")  # mostly the one whose table is known to the last digit
    server: bool = False
    disk: bool = False
    nodes: bool = False
    early: bool = True
    alone: bool = False


FAULTS: dict[str, Fault] = {
    "driver-kill": Fault(driver_kill),
    "ctrl-c": Fault(ctrl_c),
    "actor-kill": Fault(actor_kill, early=False, alone=True),
    "mlflow-kill": Fault(mlflow_kill, server=True),
    "disk-full": Fault(disk_full, disk=True, early=False),
    "checkpoint-noise": Fault(checkpoint_noise, early=False),
    "ledger-truncated": Fault(ledger_truncated, early=False),
    "started-twice": Fault(started_twice),
    "driver-term": Fault(driver_term),
    "ctrl-c-twice": Fault(ctrl_c_twice),
    "worker-kill": Fault(worker_kill, ("workers",), early=False, alone=True),
    "node-lost": Fault(node_lost, ("nodes",), nodes=True, early=False, alone=True),
    "mlflow-cut": Fault(mlflow_cut, server=True, early=False, alone=True),
    "checkpoint-truncated": Fault(checkpoint_truncated, early=False),
    "ledger-noise": Fault(ledger_noise, early=False),
    "ledger-deleted": Fault(ledger_deleted, early=False),
}
