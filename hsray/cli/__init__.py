"""The command line. No logic here, and nothing heavy is imported before a command needs it."""

from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path

from hsray.cli import data, models, sweeps, tables  # noqa: F401  (each registers its commands, in this order)
from hsray.cli.app import app
from hsray.errors import HsrayError


def main() -> None:
    """Entry point: errors become a message and an exit code (1 = the work failed, 2 = the request was wrong)."""
    try:
        app(standalone_mode=True)
    except HsrayError as error:
        _print_error(str(error))
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        _print_error("interrupted\n  do:    run the same command again: it goes on from here")
        sys.exit(130)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except Exception as error:  # noqa: BLE001 (the last resort: a user never sees a traceback)
        log = Path("hsray-error.log").resolve()
        log.write_text(traceback.format_exc(), "utf-8")
        _print_error(
            f"this should not have happened: {type(error).__name__}: {error}\n  where: {log}\n"
            "  do:    please report it with that file"
        )
        sys.exit(1)


def _print_error(message: str) -> None:
    label = "\033[1;31merror:\033[0m" if sys.stderr.isatty() else "error:"
    print(f"{label} {message}", file=sys.stderr)
