"""What a submitted job runs on the cluster: this module with VERSION EXPERIMENT [options of sweep]."""

from __future__ import annotations

import os
import sys
from importlib.metadata import version
from pathlib import Path

from hsray.errors import RequestError

STARTED = "hsray starts the sweep"
# A job runs in a folder that is thrown away with it; these have to be somewhere else.
FOLDERS = {"--data": "HSRAY_DATA", "--runs": "HSRAY_RUNS"}


def arguments(sent: str, rest: list[str]) -> list[str]:
    """The command line of the sweep.

    Raises:
        RequestError: another hsray than that of the sender, or a folder that is not said or not absolute.
    """
    if sent != version("hsray"):
        raise RequestError(
            f"the cluster has hsray {version('hsray')}, and the sweep was submitted by {sent}",
            where=sys.prefix,
            do="install the same version in both places",
        )
    for option, variable in FOLDERS.items():
        folder = rest[rest.index(option) + 1] if option in rest else os.environ.get(variable, "")
        if not (Path(folder).is_absolute() or "://" in folder):
            raise RequestError(
                f"a submitted sweep needs an absolute {option}" + (f", not '{folder}'" if folder else ""),
                where="the job's command, or its environment",
                do=f"give {option}, or set {variable} in the environment in which Ray is started on the cluster",
            )
    return ["sweep", *rest]


def main() -> None:
    from hsray.cli import main as command_line

    try:
        words = arguments(sys.argv[1], sys.argv[2:])
    except RequestError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    print(STARTED, flush=True)
    sys.argv = ["hsray", *words]
    command_line()


if __name__ == "__main__":
    main()
