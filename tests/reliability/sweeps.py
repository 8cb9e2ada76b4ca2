"""One sweep with one fault: struck at a drawn instant, taken up by the same command until it is done, then checked."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from hsray.tracking.client import open_client
from tests.reliability.checks import Expected, Findings, check, leaderboard
from tests.reliability.disk import SmallDisk
from tests.reliability.faults import FAULTS, RAYS_AGENTS_DIE_WITHIN_S, Stage, busy
from tests.reliability.raylets import Raylets
from tests.reliability.scene import CELLS, SEEDS, TRIALS, Scene
from tests.reliability.watch import Watch
from tests.tracking.stores import Server

PATIENCE_S = 600  # for one command
COMMANDS = 5  # so many times is the same command given before it counts as never done
SAVING_S = (0.0, 0.3, 1.0)  # between two checkpoints of a run, which takes a second or two on an idle core
EARLY = 0.15  # of the faults that can, so many strike while the sweep is starting


@dataclass
class Outcome:
    """What came of one sweep. `complaints` is everything that was not as it should be, in words."""

    fault: str
    shape: str
    number: int
    instant: str
    findings: Findings = field(default_factory=Findings)
    complaints: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    commands: int = 0
    seconds: float = 0.0

    @property
    def clean(self) -> bool:
        return self.findings.clean and not self.complaints


@contextmanager
def surroundings(
    folder: Path,
    shape: str,
    checkpoint_seconds: float = 0.3,
    *,
    server: bool = False,
    disk: bool = False,
    nodes: bool = False,
) -> Iterator[Stage]:
    """A scene with what its fault needs, watched; everything is ended and unmounted afterwards."""
    with ExitStack() as stack:
        small = SmallDisk(folder / "runs") if disk else None
        if small is not None:
            stack.callback(small.close)
        scene = Scene(folder, shape, checkpoint_seconds=checkpoint_seconds)
        mlflow = Server(folder, scene.uri) if server else None
        if mlflow is not None:
            open_client(scene.uri, to_write=True)  # makes the tables
            stack.callback(mlflow.kill)
            mlflow.start()
            scene.uri = mlflow.uri
        cluster = stack.enter_context(Raylets(1, env=scene.settings)) if nodes else None
        if cluster is not None:
            cluster.add(1, env=scene.settings)
            scene.environment |= cluster.env
        stack.callback(scene.close)
        watch = stack.enter_context(Watch(scene.sweep))
        yield Stage(scene, scene.start(), watch, random.Random(), mlflow, small, cluster)


def undisturbed(folder: Path, shape: str, expected: Expected) -> Outcome:
    """The sweep without a fault, which says what the others have to give."""
    outcome, started = Outcome("none", shape, 0, "never"), time.monotonic()
    with surroundings(folder, shape) as stage:
        if not _complete(stage, outcome):
            raise RuntimeError(f"the undisturbed sweep is not done: {outcome.complaints}")
        outcome.findings = check(stage.scene, stage.watch, expected)
        if not outcome.findings.clean:
            raise RuntimeError(f"even the undisturbed sweep is not as it should be: {outcome.findings.words}")
        expected.tables[shape] = leaderboard(stage.scene)
        expected.epochs[shape] = stage.watch.epochs
    outcome.seconds = time.monotonic() - started
    return outcome


def disturbed(folder: Path, fault_name: str, number: int, seed: int, expected: Expected) -> Outcome:
    """The sweep with this fault; everything about it follows from the seed and its number."""
    draw, fault = random.Random(f"{seed}/{number}/{fault_name}"), FAULTS[fault_name]
    shape, saving = draw.choice(fault.shapes), draw.choice(SAVING_S)
    started = time.monotonic()
    with surroundings(folder, shape, saving, server=fault.server, disk=fault.disk, nodes=fault.nodes) as stage:
        stage.draw = draw
        if fault.early and draw.random() < EARLY:
            instant = draw.uniform(0, 12)
            outcome = Outcome(fault_name, shape, number, f"{instant:.1f} s after its start")
            stage.until(lambda: False, instant)
        else:
            total = expected.epochs[shape if shape in expected.epochs else "one"]
            most = 0.85 if stage.scene.deterministic else 0.6  # elsewhere the bracket may stop more trials
            epochs, moment = draw.randint(1, int(most * total)), draw.uniform(0, 0.3)
            outcome = Outcome(fault_name, shape, number, f"{moment:.2f} s after epoch {epochs} of {total}")
            stage.until(lambda: stage.watch.epochs >= epochs, PATIENCE_S)
            stage.until(lambda: False, moment)
        if stage.command.running:
            fault.strike(stage)
        else:
            outcome.complaints.append("the sweep had ended before the fault")
        if _complete(stage, outcome):
            outcome.findings = check(stage.scene, stage.watch, expected)
        else:
            missing = CELLS * (TRIALS + SEEDS) - len(stage.scene.results())
            outcome.findings = Findings(lost=missing, table=False)
        if fault.alone and outcome.commands > 1:
            outcome.complaints.append(f"it did not go on by itself: {stage.scene.commands[0].said[-500:]}")
        outcome.complaints += stage.complaints + [
            f"left behind: {process}" for process in stage.scene.close(RAYS_AGENTS_DIE_WITHIN_S * busy())
        ]
        outcome.notes += [*stage.notes, f"{stage.watch.repeated()} epochs trained again"]
    outcome.seconds = time.monotonic() - started
    return outcome


def _complete(stage: Stage, outcome: Outcome) -> bool:
    """The same command again until it is done. Nothing may hang, and nobody sees a traceback."""
    scene, codes = stage.scene, []
    while True:
        codes.append(stage.command.wait(PATIENCE_S))
        if codes[-1] is None:
            outcome.complaints.append(f"command {len(scene.commands)} hung: {stage.command.said[-500:]}")
            stage.command.end()
        if "Traceback" in stage.command.said:
            outcome.complaints.append(f"command {len(scene.commands)} showed a traceback (exit code {codes[-1]})")
        if codes[-1] == 0 or len(codes) == COMMANDS:
            break
        stage.command = scene.start()
    outcome.commands = len(scene.commands)
    outcome.notes.append("exit codes " + " ".join(str(command.process.returncode) for command in scene.commands))
    if codes[-1] != 0:
        outcome.complaints.append(f"never done, exit codes {codes}: {stage.command.said[-800:]}")
    return codes[-1] == 0
