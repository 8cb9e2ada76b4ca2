"""The Slurm script with `srun`, `scontrol` and `hsray` that note how they were called; Ray itself is real."""

from __future__ import annotations

import os
import shutil
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.infra.checks import INFRA

SCRIPT = INFRA / "slurm" / "sweep.sbatch"
FAKES = {
    # Slurm's own options go; what is left is the command.
    "srun": 'echo "srun $*" >>"$CALLS"\nwhile [[ $1 == --* ]]; do shift; done\nexec "$@"',
    "scontrol": 'echo "scontrol $*" >>"$CALLS"\nif [[ $1 == show ]]; then tr , "\\n" <<<"$3"; fi',
    # A driver that does what $DRIVER says; on SIGTERM it stops as hsray does.
    "hsray": 'echo "hsray $* on $RAY_ADDRESS" >>"$CALLS"\n'
    'trap \'echo "driver stopped" >>"$CALLS"; exit 1\' TERM\neval "$DRIVER"',
    # In place of Ray where a test is not about it.
    "ray": 'echo "ray $*" >>"$CALLS"\nif [[ $1 == start ]]; then exec sleep 600; fi',
}
WAIT = "while :; do sleep 0.1; done"


class Job:
    def __init__(self, folder: Path, real_ray: bool = False) -> None:
        self.folder, self.calls = folder, folder / "calls"
        self.calls.touch()
        self.number = 1000 + os.getpid() % 900
        fakes = folder / "bin"
        fakes.mkdir()
        for name, body in FAKES.items():
            if name != "ray" or not real_ray:
                (fakes / name).write_text(f"#!/usr/bin/env bash\n{body}\n")
        (fakes / "python").write_text(
            f'#!/usr/bin/env bash\n{"" if real_ray else "exit 0"}\nexec {sys.executable} "$@"\n'
        )
        for path in fakes.iterdir():
            path.chmod(0o755)
        self.path = f"{fakes}:{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.process: subprocess.Popen[str] | None = None

    def run(self, driver: str, *arguments: str, **environment: str) -> Job:
        given = {
            "PATH": self.path, "CALLS": str(self.calls), "DRIVER": driver, "SLURM_JOB_ID": str(self.number),
            "SLURM_JOB_NODELIST": "localhost,localhost", "SLURM_CPUS_PER_TASK": "1",
            "HSRAY_SECRETS": str(self.folder / "none"),
        }  # fmt: skip
        self.process = subprocess.Popen(
            ["bash", str(SCRIPT), *(arguments or ("experiment.yaml", "--data", "data"))], cwd=self.folder,
            env={**os.environ, **given, **environment}, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        return self

    def end(self) -> tuple[int, str]:
        assert self.process is not None
        said, _ = self.process.communicate(timeout=120)
        return self.process.returncode, said

    def called(self, what: str) -> bool:
        return any(line.startswith(what) for line in self.calls.read_text().splitlines())

    def until(self, what: str, seconds: float = 240) -> None:
        end = time.monotonic() + seconds
        while not self.called(what):
            assert self.process is not None and self.process.poll() is None, self.end()
            assert time.monotonic() < end, self.calls.read_text()
            time.sleep(0.05)


@pytest.fixture
def job(tmp_path: Path) -> Iterator[Callable[..., Job]]:
    made: list[Job] = []

    def make(**options: bool) -> Job:
        made.append(Job(tmp_path, **options))
        return made[-1]

    yield make
    for one in made:
        if one.process is not None and one.process.poll() is None:
            os.killpg(one.process.pid, signal.SIGKILL)
            one.process.wait()
        shutil.rmtree(f"/tmp/ray-{one.number}", ignore_errors=True)


def test_a_sweep_that_ends_is_not_queued_again(job: Callable[..., Job]) -> None:
    one = job().run("exit 0")
    status, said = one.end()
    assert status == 0 and "done" in said
    assert one.called("hsray sweep experiment.yaml --data data") and not one.called("scontrol requeue")
    assert not list(one.folder.glob(".hsray-token-*"))


def test_before_the_time_limit_the_driver_stops_and_the_job_queues_itself(job: Callable[..., Job]) -> None:
    one = job().run(WAIT)
    one.until("hsray sweep")
    assert one.process is not None
    one.process.send_signal(signal.SIGUSR1)
    status, said = one.end()
    calls = one.calls.read_text().splitlines()
    assert status == 1 and "back into the queue" in said
    assert calls.index("driver stopped") < calls.index(f"scontrol requeue {one.number}")


def test_cancelled_it_stops_the_driver_and_stays_away(job: Callable[..., Job]) -> None:
    one = job().run(WAIT)
    one.until("hsray sweep")
    assert one.process is not None
    one.process.terminate()
    status, said = one.end()
    assert status == 1 and "cancelled" in said
    assert one.called("driver stopped") and not one.called("scontrol requeue")


def test_a_driver_that_was_killed_is_tried_again_but_not_for_ever(job: Callable[..., Job]) -> None:
    one = job().run("kill -9 $$")
    assert one.end()[0] == 137 and one.called("scontrol requeue")
    one.calls.write_text("")
    one.run("kill -9 $$", SLURM_RESTART_COUNT="20")
    assert one.end()[0] == 137 and not one.called("scontrol requeue")


def test_a_wrong_request_is_not_tried_again(job: Callable[..., Job]) -> None:
    one = job().run("exit 2")
    status, said = one.end()
    assert status == 2 and "not tried again" in said and not one.called("scontrol requeue")


def test_secrets_that_others_can_read_are_refused(job: Callable[..., Job], tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text("MLFLOW_TRACKING_PASSWORD=of-somebody\n")
    secrets.chmod(0o644)
    status, said = job().run("exit 0", HSRAY_SECRETS=str(secrets)).end()
    assert status == 2 and "chmod 600" in said and "of-somebody" not in said


def test_secrets_reach_the_driver(job: Callable[..., Job], tmp_path: Path) -> None:
    secrets = tmp_path / "secrets"
    secrets.write_text("MLFLOW_TRACKING_PASSWORD=of-somebody\n")
    secrets.chmod(0o600)
    one = job().run(
        '[[ $MLFLOW_TRACKING_PASSWORD == of-somebody ]] && touch "$CALLS.known"', HSRAY_SECRETS=str(secrets)
    )
    _, said = one.end()
    assert (tmp_path / "calls.known").exists() and "of-somebody" not in said


def test_a_head_and_a_worker_start_and_end_with_the_job(job: Callable[..., Job], tmp_path: Path) -> None:
    counted = "import ray; ray.init(log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    driver = (
        f'{sys.executable} -c "{counted}" >"$CALLS.nodes"; stat -c %a "$RAY_AUTH_TOKEN_PATH" >"$CALLS.mode"; {WAIT}'
    )
    one = job(real_ray=True).run(driver)
    end = time.monotonic() + 240
    while not (tmp_path / "calls.mode").exists() and time.monotonic() < end:
        assert one.process is not None and one.process.poll() is None, one.end()
        time.sleep(0.2)
    assert (tmp_path / "calls.nodes").read_text().split() == ["2"]
    assert (tmp_path / "calls.mode").read_text().strip() == "600"
    token = next(tmp_path.glob(".hsray-token-*"))
    assert not token.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO) and len(token.read_text()) == 64
    assert one.process is not None
    family = psutil.Process(one.process.pid).children(recursive=True)
    assert sum("raylet" in member.name() for member in family) == 2
    one.process.send_signal(signal.SIGUSR1)
    status, said = one.end()
    assert status == 1 and one.called("scontrol requeue"), said
    _, alive = psutil.wait_procs(family, timeout=60)
    assert not alive
