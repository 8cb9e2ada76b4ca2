"""A real PostgreSQL of our own on the loopback: it can be killed and started again."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from pathlib import Path

import psycopg

from tests.tracking.stores import free_port

USER, PASSWORD = "hsray", "very-secret"


def programs() -> Path | None:
    """The folder of initdb and pg_ctl; None where PostgreSQL is not installed. Debian keeps them off the path."""
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    return next((folder for folder in reversed(folders) if (folder / "initdb").exists()), None)


def may_run() -> str | None:
    """Why there can be no PostgreSQL here; None where there can."""
    if programs() is None:
        return "PostgreSQL is not installed (Debian: apt-get install postgresql)"
    if os.geteuid() == 0 and not _account():
        return "PostgreSQL does not run as root, and there is no account 'postgres'"
    return None


class Postgres:
    """One server with its files in a folder of its own; `url(name)` is the address of a database."""

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="hsray-postgres-"))  # not below a folder that only root may enter
        password = self.folder / "password"
        password.write_text(PASSWORD)
        if os.geteuid() == 0:
            for path in (self.folder, password):
                shutil.chown(path, _account())
        self._run("initdb", "-U", USER, "-A", "scram-sha-256", "--pwfile", str(password), "-E", "UTF8", "--no-sync")
        settings = f"listen_addresses = '127.0.0.1'\nport = {self.port}\nunix_socket_directories = ''\n"
        with (self.folder / "data" / "postgresql.conf").open("a") as file:
            file.write(settings)

    def url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self.port}/{database}"

    def start(self) -> None:
        self._run("pg_ctl", "-w", "-t", "60", "-l", str(self.folder / "log"), "start")

    def stop(self, how: str = "immediate") -> None:
        """`immediate` is a crash: it recovers when it is started again."""
        self._run("pg_ctl", "-w", "-m", how, "stop")

    def create(self, database: str) -> str:
        """A new database; its address."""
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def close(self) -> None:
        if (self.folder / "data" / "postmaster.pid").exists():
            self.stop()
        shutil.rmtree(self.folder)

    def _run(self, program: str, *arguments: str) -> None:
        folder = programs()
        assert folder is not None
        command = [str(folder / program), "-D", str(self.folder / "data"), *arguments]
        done = subprocess.run(
            command, cwd=self.folder, user=_account(), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{program}: {done.stderr}"


def _account() -> str | None:
    """Whom the server runs as: ourselves, unless we are root."""
    if os.geteuid() != 0:
        return None
    return next((entry.pw_name for entry in pwd.getpwall() if entry.pw_name == "postgres"), None)
