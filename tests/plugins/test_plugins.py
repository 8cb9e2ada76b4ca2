"""A dataset, a model and a strategy from another package are swept without a change to hsray."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.sweep.sweeps import hsray, write_experiment
from tests.tiny import tiny_store

EXAMPLE = Path(__file__).parent / "example"


def test_another_package_plugs_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    site = tmp_path / "site"
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--no-build-isolation", "--target", str(site)]
    source = tmp_path / "source"
    subprocess.run(["cp", "-r", str(EXAMPLE), str(source)], check=True)  # setuptools builds inside its folder
    subprocess.run([*pip, str(source)], check=True)
    tiny_store(tmp_path / "elsewhere", "stripes")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(site), *filter(None, [os.environ.get("PYTHONPATH")])]))
    monkeypatch.setenv("HSRAY_EXAMPLE_DATA", str(tmp_path / "elsewhere" / "stripes"))
    experiment = write_experiment(
        tmp_path,
        axes={"dataset": ["example-stripes"], "strategy": ["example-strategy"], "decoder.scale": [1.0, 4.0]},
        budget={"trials": 2, "epochs": 3, "grace": 1},
        final={"seeds": 3},
    )
    done = hsray(tmp_path, "sweep", str(experiment))
    assert done.returncode == 0, done.stderr
    rows = json.loads(hsray(tmp_path, "leaderboard", "tiny-sweep", "--format", "json").stdout)["rows"]
    assert {row["strategy"] for row in rows} == {"example-strategy"} and len(rows) == 2
    assert {row["family"] for row in rows} == {"in-domain"}
    assert all(row["seeds"] == 3 for row in rows)
