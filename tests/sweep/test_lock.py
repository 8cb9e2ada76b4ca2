"""One driver a sweep: the second is told who the first is; a dead one holds nothing."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from hsray.errors import RequestError
from hsray.sweep.control.lock import only_driver, running_driver

HOLD = """
import sys, time
from pathlib import Path
from hsray.sweep.control.lock import only_driver
with only_driver(Path(sys.argv[1]), "e"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_is_refused_and_names_the_first_until_that_one_dies(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", HOLD, str(tmp_path), "--tracking-uri", "http://user:secret@host/"]
    first = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert first.stdout is not None and first.stdout.readline() == "held\n"
        who = f"process {first.pid} on {socket.gethostname()}, since 2"
        with pytest.raises(RequestError, match=who) as refused, only_driver(tmp_path, "e"):
            pass
        assert "--tracking-uri http://***@host/" in str(refused.value) and "secret" not in str(refused.value)
        holder = running_driver(tmp_path)
        assert holder is not None and holder.pid == first.pid
    finally:
        os.kill(first.pid, signal.SIGKILL)
        first.communicate()
    assert running_driver(tmp_path) is None
    with only_driver(tmp_path, "e"):
        assert (tmp_path / "driver.json").exists()
    assert not (tmp_path / "driver.json").exists()


def test_nobody_runs_a_sweep_that_is_not_there(tmp_path: Path) -> None:
    assert running_driver(tmp_path / "none") is None
    assert not (tmp_path / "none").exists(), "asking makes nothing"
