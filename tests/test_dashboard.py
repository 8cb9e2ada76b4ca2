"""What the dashboard does before and beside its pages; the pages are tested in a browser (tests/browser)."""

from __future__ import annotations

import json
import logging
import socket
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from hsray.commands.dashboard import _free_port, _options, _sign_in, serve
from hsray.dashboards.background import Background
from hsray.dashboards.settings import Settings, settings
from hsray.datasets.classes import ClassInfo
from hsray.datasets.mosaic import pixel_of
from hsray.datasets.store import SPLITS, CubeStore
from hsray.datasets.writer import Plan, StoreWriter
from hsray.errors import HsrayError, RequestError
from tests.tiny import tiny_store

TOLD = Settings("mirror", "runs", "data", "sqlite:///mlflow.db")


def test_without_streamlit_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "streamlit", None)
    with pytest.raises(RequestError, match=r"pip install 'hsray\[dashboard\]'"):
        serve(TOLD, "127.0.0.1", None, open_browser=False)


def test_a_port_in_use_is_refused_and_else_the_next_is_taken() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RequestError, match=f"port {port} of 127.0.0.1"):
            _free_port("127.0.0.1", port)
    assert _free_port("127.0.0.1", None) >= 8501
    with pytest.raises(RequestError, match="cannot listen"):
        _free_port("no-such-host.invalid", 8501)


def test_the_server_keeps_to_itself() -> None:
    options = _options("127.0.0.1", 8501, open_browser=False, sign_in=False)
    assert {"--browser.gatherUsageStats=false", "--server.fileWatcherType=none", "--server.headless=true"} <= {*options}
    assert "--server.allowedHosts=localhost" in options  # else a stranger's name may lead here
    elsewhere = _options("0.0.0.0", 8501, open_browser=True, sign_in=False)
    assert not any(option.startswith("--server.allowedHosts") for option in elsewhere)


def test_sign_in_is_found_in_the_secrets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert not _sign_in()
    secrets = tmp_path / ".streamlit" / "secrets.toml"
    secrets.parent.mkdir()
    secrets.write_text("[other]\nkey = 1\n")
    assert not _sign_in()
    secrets.write_text('[auth]\nclient_id = "x"\n')
    assert _sign_in()
    monkeypatch.setitem(sys.modules, "authlib", None)
    with pytest.raises(RequestError, match="Authlib"):
        serve(TOLD, "127.0.0.1", None, open_browser=False)
    secrets.write_text("[auth\n")
    with pytest.raises(RequestError, match="cannot be read"):
        _sign_in()


def test_settings_reach_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in TOLD.to_environment(sign_in=True).items():
        monkeypatch.setenv(name, value)
        assert json.loads(value)["sign_in"]
    assert settings() == Settings("mirror", "runs", "data", "sqlite:///mlflow.db", "", True)


def test_a_page_does_not_wait_for_slow_work() -> None:
    go, calls = threading.Event(), []

    def work() -> int:
        calls.append(1)
        go.wait(20)
        if len(calls) == 2:
            raise HsrayError("it failed")
        return len(calls)

    background = Background(work, every=0.0)
    assert background.latest(wait=0.01) is None
    assert background.latest(wait=0.01) is None
    assert len(calls) == 1  # one at a time
    go.set()
    assert background.latest(wait=20) == 1
    while background.error is None:  # the second attempt fails: the last result stays
        assert background.latest(wait=0.01) == 1
    assert str(background.error) == "it failed"


def test_a_fault_in_the_background_is_told_once_and_passes(caplog: pytest.LogCaptureFixture) -> None:
    broken = [True]

    def work() -> int:
        if broken[0]:
            raise ValueError("nobody foresaw it")
        return 7

    background = Background(work, every=0.0)
    with caplog.at_level(logging.ERROR):
        for _ in range(3):
            assert background.latest(wait=20) is None
            while background.busy_for:
                time.sleep(0.001)
            assert "ValueError" in str(background.error)
    assert [str(record.exc_info[1]) for record in caplog.records if record.exc_info] == ["nobody foresaw it"]
    broken[0] = False
    while background.error is not None:
        background.latest(wait=0.01)
    assert background.latest() == 7


def test_every_pixel_of_a_scenes_picture_is_found_in_its_block(tmp_path: Path) -> None:
    """Blocks of unlike sizes in three splits; a pixel's value is its place in the scene, and one block is missing."""
    tops, lefts = [0, 5, 8], [0, 4, 10]
    blocks = {"r00c00": "train", "r00c01": "test", "r01c01": "val"}
    infos = (ClassInfo(0, "undefined", (0, 0, 0), False), ClassInfo(1, "corn", (9, 9, 9), True))
    splits = {split: [name for name, of in blocks.items() if of == split] for split in SPLITS}
    writer = StoreWriter(tmp_path / "scene", Plan("scene", infos, 0, (500.0, 600.0), splits, (), {}, False))
    for split in SPLITS:
        for name in writer.todo(split):
            row, column = int(name[1:3]), int(name[4:6])
            rows, columns = np.mgrid[tops[row] : tops[row + 1], lefts[column] : lefts[column + 1]]
            cube_HWC = np.stack([rows, columns], axis=-1).astype(np.float32)
            writer.write(split, name, cube_HWC, np.ones(rows.shape, np.int64))
    writer.finish()
    store = CubeStore(tmp_path / "scene")
    for row in range(tops[-1]):
        for column in range(lefts[-1]):
            found = pixel_of(store, row, column)
            if row >= tops[1] and column < lefts[1]:
                assert found is None
                continue
            assert found is not None
            split, name, y, x = found
            assert blocks[name] == split
            assert store.cube_HWC(split, name)[y, x].tolist() == [row, column]
    assert pixel_of(store, tops[-1], 0) is None
    assert pixel_of(store, -1, 5) is None


def test_a_pixel_of_a_lone_image_is_its_own(tmp_path: Path) -> None:
    store = tiny_store(tmp_path)
    found = pixel_of(store, 3, 5)
    assert found is not None
    assert (found[0], *found[2:]) == ("test", 3, 5)
    assert pixel_of(store, 16, 0) is None
