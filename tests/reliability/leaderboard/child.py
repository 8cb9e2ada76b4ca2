"""A sync in a process of its own, which can kill itself before the n-th step that it takes in the mirror's folder.

`python -m tests.reliability.leaderboard.child URI FOLDER [N]` prints `syncing`, and at the end the number of its steps.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from typing import Any

from hsray.leaderboard.mirror import sync

STEPS = {"open", "os.rename", "os.remove", "os.mkdir", "os.listdir", "os.scandir"}


def main(uri: str, folder: str, dies_at: int) -> None:
    count = 0

    def step(event: str, arguments: tuple[Any, ...]) -> None:
        nonlocal count
        if event in STEPS and folder in str(arguments[0]):
            count += 1
            if count == dies_at:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(step)
    print("syncing", flush=True)
    sync(Path(folder), uri)
    print(count)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]) if len(sys.argv) > 3 else 0)
