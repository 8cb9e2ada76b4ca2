from __future__ import annotations

import getpass
import json
import platform
import subprocess
from importlib.metadata import version
from pathlib import Path

import pytest

from hsray.tracking import manifest


def git(folder: Path, *words: str) -> str:
    who = ("-c", "user.name=a", "-c", "user.email=a@b.c")
    return subprocess.run(["git", *who, *words], cwd=folder, check=True, capture_output=True, text=True).stdout.strip()


def test_state_of_the_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert manifest()["git"] is None
    git(tmp_path, "init")
    (tmp_path / "file").write_text("1")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-m", "one")
    assert manifest()["git"] == {"commit": git(tmp_path, "rev-parse", "HEAD"), "dirty": False}
    (tmp_path / "file").write_text("2")
    assert manifest()["git"]["dirty"] is True


def test_packages_and_no_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOME_SECRET_TOKEN", "hush-4711")
    found = manifest()
    assert found["packages"]["numpy"] == version("numpy")
    text = json.dumps({name: part for name, part in found.items() if name != "packages"})
    assert platform.node() not in text
    assert "hush-4711" not in text
    assert str(Path.home()) not in text
    assert f'"{getpass.getuser()}"' not in text
