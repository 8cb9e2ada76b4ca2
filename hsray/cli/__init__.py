"""The command line. No logic here, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import signal
import sys
import tempfile
import traceback
from pathlib import Path
from types import FrameType
from typing import NoReturn

from hsray.cli import data, models, sweeps, tables, upkeep  # noqa: F401  (each registers its commands, in this order)
from hsray.cli.app import app
from hsray.errors import HsrayError


def main() -> None:
    """Entry point: errors become a message and an exit code (1 = the work failed, 2 = the request was wrong)."""
    caught: list[int] = []

    def interrupt(signum: int, frame: FrameType | None) -> None:
        caught.append(signum)
        raise KeyboardInterrupt

    for signum in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(signum) is not signal.SIG_IGN:  # nohup, a shell's background job
            signal.signal(signum, interrupt)
    try:
        app(standalone_mode=True)
    except HsrayError as error:
        _print_error(str(error))
        if error.exit_code > 128:
            _leave(error.exit_code)
        sys.exit(error.exit_code)
    except (KeyboardInterrupt, SystemExit):
        if not caught:
            raise  # typer's way to end; it makes one of the former, too
        _interrupted(caught[0])
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 (the last resort: a user never sees a traceback)
        if caught:
            _interrupted(caught[0])  # a library may answer an interrupt with any error
        log = Path("hsray-error.log").resolve()
        try:
            log.write_text(traceback.format_exc(), "utf-8")
        except OSError:  # a folder that cannot be written
            handle, name = tempfile.mkstemp(".log", "hsray-error-")
            os.close(handle)
            log = Path(name)
            log.write_text(traceback.format_exc(), "utf-8")
        _print_error(
            f"this should not have happened: {type(error).__name__}: {error}\n  where: {log}\n"
            "  do:    please report it with that file"
        )
        sys.exit(1)


def _interrupted(signum: int) -> NoReturn:
    _print_error("interrupted\n  do:    run the same command again: it goes on from here")
    _leave(128 + signum)


def _leave(code: int) -> NoReturn:
    """After a signal: without the libraries' own farewells, which can take seconds."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _print_error(message: str) -> None:
    label = "\033[1;31merror:\033[0m" if sys.stderr.isatty() else "error:"
    print(f"{label} {message}", file=sys.stderr)
