"""Sweeps whose runs lie in an object store, over HTTP: killed, cut off, gone on with on another machine."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.reliability.s3 import BUCKET, KEY, S3, SECRET, kill, start
from tests.sweep.sweeps import epochs_in_mlflow, mlflow_runs, write_experiment

NAME, CELLS, TRIALS, SEEDS = "tiny-sweep", 2, 3, 2
AXES = {"dataset": ["tiny"], "strategy": ["mlp", "fc"], "fraction": [1.0]}
ROOT = f"prefix/{NAME}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[S3]:
    monkeypatch.chdir(tmp_path)
    found = S3(tmp_path)
    yield found
    found.close()


def sweep(server: S3, folder: Path, scratch: str = "scratch") -> subprocess.Popen[str]:
    return start(server, folder, "sweep", "experiment.yaml", "--runs", f"s3://{BUCKET}/prefix", scratch=scratch)


def end(process: subprocess.Popen[str], code: int = 0) -> str:
    out, err = process.communicate(timeout=400)
    assert process.returncode == code, (process.returncode, out, err, broke())
    assert "Traceback" not in err
    return err


def broke() -> str:
    """The traceback that no user sees."""
    log = Path("hsray-error.log")
    return log.read_text()[-3000:] if log.exists() else ""


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[str], seconds: float = 180) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, (process.communicate(), broke())
        assert time.monotonic() < ends
        time.sleep(0.2)


def results(server: S3) -> dict[str, dict]:
    names = [name for name in server.objects() if name.startswith(ROOT) and name.endswith("/result.json")]
    return {name: server.json(name) for name in names}


def check(server: S3, folder: Path, trials: int = CELLS * TRIALS, finals: int = CELLS * SEEDS) -> None:
    """As after an undisturbed sweep, in the store and in MLflow."""
    runs = mlflow_runs(folder)
    assert sorted(run["kind"] for run in runs) == ["final"] * finals + ["trial"] * trials
    assert len({run["key"] for run in runs}) == len(runs) and {run["status"] for run in runs} == {"FINISHED"}
    objects, epochs = server.objects(), epochs_in_mlflow(folder)
    assert len(results(server)) == trials + finals
    assert not [name for name in objects if name.endswith(".pt") or "drivers/" in name or "/." in name]
    for name, result in results(server).items():
        folder_name = name.removesuffix("result.json")
        logged = server.read(folder_name + "epochs.jsonl").decode().splitlines()
        assert epochs[server.json(folder_name + "spec.json")["key"]] == len(logged)
        for artefact in result["artifacts"] if "/final-" in name else []:  # of the trials only the best keep weights
            assert objects[folder_name + artefact] > 0
    nowhere_but_in_the_environment(server, folder)


def nowhere_but_in_the_environment(server: S3, folder: Path) -> None:
    canaries = [SECRET.encode(), KEY.encode()]
    for path in folder.rglob("*"):
        if path.is_file() and path.name != "s3.log":
            content = path.read_bytes()
            assert not [canary for canary in canaries if canary in content], path
    for name in server.objects():
        content = server.read(name)
        assert not [canary for canary in canaries if canary in content], name


def test_killed_and_gone_on_with_on_another_machine_while_the_store_is_away(server: S3, tmp_path: Path) -> None:
    write_experiment(tmp_path, axes=AXES, budget={"trials": TRIALS, "epochs": 60, "patience": None, "halving": False})
    first = sweep(server, tmp_path)
    wait_until(lambda: any("/drivers/" in name for name in server.objects()), first)
    refused = end(sweep(server, tmp_path, "elsewhere"), 2)
    assert f"running already: process {first.pid} on" in refused
    wait_until(lambda: len(results(server)) >= 2, first)
    kill(first)
    before = results(server)
    shutil.rmtree(tmp_path / "scratch")
    second = sweep(server, tmp_path)
    wait_until(lambda: len(results(server)) >= len(before) + 2, second)
    server.relay.cut()
    time.sleep(6)
    server.relay.mend()
    wait_until(lambda: len(results(server)) >= len(before) + 4, second)
    kill(second)  # and the same machine goes on
    assert "takes the sweep over" in end(sweep(server, tmp_path))
    check(server, tmp_path)
    after = results(server)
    assert all(after[name] == result for name, result in before.items()), "nothing is trained twice"
    table = start(server, tmp_path, "leaderboard", NAME, "--format", "json")
    assert len(json.loads(table.communicate(timeout=60)[0])["rows"]) == CELLS
    plan = start(server, tmp_path, "plan", "experiment.yaml", "--runs", f"s3://{BUCKET}/prefix")
    assert f"{TRIALS}/{TRIALS}" in plan.communicate(timeout=120)[0]


def test_ctrl_c_saves_the_runs_in_the_store_and_the_same_command_goes_on(server: S3, tmp_path: Path) -> None:
    long = {"trials": 1, "epochs": 400, "patience": None, "halving": False}
    write_experiment(tmp_path, axes=AXES, budget=long, final={"seeds": 1})
    first = sweep(server, tmp_path)
    wait_until(lambda: any(name.endswith("last.pt") for name in server.objects()), first)
    pressed = time.monotonic()
    first.send_signal(signal.SIGINT)
    err = first.communicate(timeout=60)[1]
    assert first.returncode != 0 and "the same command" in err, err
    assert time.monotonic() - pressed < 20
    saved = [name for name in server.objects() if name.endswith("last.pt")]
    assert saved and not results(server)
    logged = {name: len(server.read(name.replace("last.pt", "epochs.jsonl")).splitlines()) for name in saved}
    shutil.rmtree(tmp_path / "scratch")
    end(sweep(server, tmp_path))
    check(server, tmp_path, CELLS, CELLS)
    for name, epochs in logged.items():
        records = [json.loads(line) for line in server.read(name.replace("last.pt", "epochs.jsonl")).splitlines()]
        assert [record["epoch"] for record in records] == list(range(400))
        assert records[epochs - 1]["time"] < records[epochs]["time"] - 1, "it went on from its checkpoint"


def test_several_workers_share_no_folder(server: S3, tmp_path: Path) -> None:
    write_experiment(
        tmp_path, axes=AXES | {"strategy": ["fc"]}, budget={"trials": 2, "epochs": 3}, final={"seeds": 1},
        resources={"workers": 2, "cpus": 0.5, "gpus": 0},
    )  # fmt: skip
    end(sweep(server, tmp_path))
    check(server, tmp_path, 2, 1)


def test_a_store_that_cannot_be_used_is_refused_before_anything_is_written(server: S3, tmp_path: Path) -> None:
    write_experiment(tmp_path, axes=AXES)
    missing = end(start(server, tmp_path, "sweep", "experiment.yaml", "--runs", "s3://no-such-bucket/x"), 2)
    assert "no-such-bucket" in missing and SECRET not in missing
    server.relay.cut()
    away = end(sweep(server, tmp_path), 2)
    assert "AWS_ENDPOINT_URL" in away
    assert not (tmp_path / "scratch").exists() and not (tmp_path / ".hsray-runs").exists()
