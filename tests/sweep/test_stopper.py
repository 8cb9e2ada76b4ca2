"""Signals to a process whose main thread waits or computes in C, and which has children: none of it may hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

SCRIPT = """
import hashlib, subprocess, sys, time
from pathlib import Path
from hsray.sweep.control import stopper
from hsray.sweep.control.stopping import stop_requested

stopper.PATIENCE_S, stopper.LIMIT_S = 0.4, 1.5
folder, how = Path(sys.argv[1]), sys.argv[2]
child = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(60)'])"
subprocess.Popen([sys.executable, "-c", child])

def ready():
    (folder / "ready").touch()

with stopper.Stopper(folder, lambda line: print(line, flush=True), signals=True) as watch:
    try:
        if how == "reacting":
            with watch.patient():
                ready()
                while not stop_requested(folder):
                    time.sleep(0.01)
            print("saved")
        elif how == "deaf":
            with watch.patient():
                ready()
                time.sleep(60)
        elif how == "in C":
            with watch.patient():
                ready()
                hashlib.pbkdf2_hmac("sha256", b"", b"", 10**9)  # a minute without an instruction of Python's
        else:
            ready()
            time.sleep(60)
    except KeyboardInterrupt:
        print("interrupted")
print(watch.reason, watch.signum)
sys.exit(7)
"""


def run(folder: Path, how: str, *signums: signal.Signals) -> tuple[float, int, str]:
    """Seconds after the last signal, exit code, all that was said. Nothing that the process started is left."""
    signal.signal(signal.SIGINT, signal.default_int_handler)  # it would inherit that a background job ignores it
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(folder), how], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    family = psutil.Process(process.pid)
    while not (folder / "ready").exists() or len(below := family.children(recursive=True)) < 2:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    time.sleep(0.05)
    for signum in signums:
        os.kill(process.pid, signum)
        began = time.monotonic()
        time.sleep(0.1)
    said, _ = process.communicate(timeout=30)
    took = time.monotonic() - began
    alive = [one for one in psutil.wait_procs(below, 1)[1] if one.status() != psutil.STATUS_ZOMBIE]
    assert not alive, alive
    return took, process.returncode, said


@pytest.mark.parametrize(
    ("how", "said"), [("reacting", "saved"), ("deaf", "interrupted"), ("elsewhere", "interrupted")]
)
def test_the_first_signal_lets_it_end_by_itself(tmp_path: Path, how: str, said: str) -> None:
    took, code, out = run(tmp_path, how, signal.SIGTERM)
    assert code == 7 and said in out and out.endswith(f"SIGTERM {int(signal.SIGTERM)}\n")
    assert (tmp_path / "stop").read_text() == "SIGTERM"
    assert ("stopping (SIGTERM)" in out) == (how != "elsewhere")
    if how == "deaf":
        assert took > 0.4


def test_the_second_ends_it_at_once_whatever_it_does(tmp_path: Path) -> None:
    _, code, out = run(tmp_path, "in C", signal.SIGINT, signal.SIGINT)
    assert code == 130 and "left at once" in out and "same command again" in out


def test_where_nothing_helps_it_ends_after_its_limit(tmp_path: Path) -> None:
    took, code, out = run(tmp_path, "in C", signal.SIGINT)
    assert code == 130 and took > 1.4 and "did not end in time" in out
