"""Noticing that the head of the cluster is gone: Ray waits for a minute, and then ends the process without a word."""

from __future__ import annotations

import os
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import ray

from hsray.errors import HsrayError

EVERY_S, GONE_S = 1.0, 8.0


@contextmanager
def watching_head() -> Iterator[None]:
    """Within it, a head that has not answered for seconds ends this process, with a message and exit code 1.

    Calls into Ray do not come back any more, and all that matters is in the run folders.
    """
    host, port = ray.get_runtime_context().gcs_address.rsplit(":", 1)
    done = threading.Event()
    threading.Thread(target=_watch, args=(host.strip("[]"), int(port), done), daemon=True).start()
    try:
        yield
    finally:
        done.set()


def _watch(host: str, port: int, done: threading.Event) -> None:
    answered = time.monotonic()
    while not done.wait(EVERY_S):
        try:
            socket.create_connection((host, port), timeout=EVERY_S).close()
            answered = time.monotonic()
        except OSError:
            if time.monotonic() - answered > GONE_S:
                leave("the Ray cluster is gone: its head does not answer any more", f"{host}:{port}")


def leave(what: str, where: str) -> None:
    """End the process with a message and exit code 1: without Ray nothing else can be done."""
    error = HsrayError(
        what, where=where, do="start it again, and run the same command again: it goes on from the last checkpoints"
    )
    cursor = "\033[?25h" if sys.stderr.isatty() else ""  # the live view had hidden it
    print(f"{cursor}error: {error}", file=sys.stderr, flush=True)
    os._exit(error.exit_code)
