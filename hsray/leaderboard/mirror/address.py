"""Where runs come from: an address, and what of it may be written and shown."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from hsray.tracking.client import redacted

# Parts of a database address's query that tell stores apart; everything else may be a secret and is left out.
TELLING = ("dbname", "host", "options", "port", "service")


@dataclass(frozen=True)
class Address:
    """`uri` as it was given, secrets and all; `name` is what the source is called, `id` the same in names of files."""

    uri: str
    name: str

    @classmethod
    def of(cls, uri: str) -> Address:
        return cls(uri, source_name(uri))

    @property
    def id(self) -> str:
        return hashlib.sha256(self.name.encode()).hexdigest()[:12]

    @property
    def sqlite(self) -> Path | None:
        """The file of a SQLite store."""
        return Path(_sqlite_path(self.uri)).resolve() if self.uri.startswith("sqlite:///") else None

    @property
    def postgres(self) -> str | None:
        """The address as PostgreSQL's own library takes it."""
        found = re.fullmatch(r"postgres(?:ql)?(?:\+\w+)?://(.*)", self.uri, re.DOTALL)
        return f"postgresql://{found[1]}" if found else None


def source_name(uri: str) -> str:
    """The address as it stands in the column `source`: absolute, without user, password, driver or closing slash.

    The same store gives the same name, whoever asks and from wherever.
    """
    if uri.startswith("sqlite:///"):
        return f"sqlite:///{Path(_sqlite_path(uri)).resolve()}"
    if "://" not in uri and uri != "databricks":
        return Path(uri.removeprefix("file:")).resolve().as_uri()
    name = redacted(uri).replace("://***@", "://").rstrip("/")
    name = re.sub(r"^postgres(?:ql)?(?:\+\w+)?://", "postgresql://", name)
    query = sorted(pair for pair in parse_qsl(uri.partition("?")[2]) if pair[0] in TELLING)
    return f"{name}?{urlencode(query)}" if query and name.startswith("postgresql") else name


def _sqlite_path(uri: str) -> str:
    return uri.removeprefix("sqlite:///").split("?")[0]
