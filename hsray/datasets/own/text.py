"""Small text files that come with a person's data."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from hsray.errors import RequestError


def read_text(path: Path) -> str:
    """The file's text, line ends as they are.

    Raises:
        RequestError: it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise RequestError(f"This file cannot be read ({error.strerror})", where=str(path)) from error
    except UnicodeDecodeError as error:
        raise RequestError(
            f"This is no UTF-8 text ({error.reason} at byte {error.start})", where=str(path), do="save it as UTF-8"
        ) from error


def read_csv(path: Path) -> list[list[str]]:
    """The cells of a csv file, line by line.

    Raises:
        RequestError: as `read_text`, or it is no csv.
    """
    try:
        return list(csv.reader(io.StringIO(read_text(path), newline="")))
    except csv.Error as error:
        raise RequestError(f"This is no csv file ({error})", where=str(path)) from error
