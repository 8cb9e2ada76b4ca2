"""What dashboard does: it serves the pages until Ctrl-C."""

from __future__ import annotations

import ipaddress
import os
import signal
import socket
import tomllib
from contextlib import suppress
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from hsray.commands.console import err
from hsray.dashboards.settings import Settings
from hsray.errors import RequestError

PORTS = range(8501, 8521)
EXTRA = "pip install 'hsray[dashboard]'"
SECRETS = ".streamlit/secrets.toml"
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "[::1]")
# Okabe and Ito's blue for what can be clicked: at least 4.5:1 on either background.
COLOURS = ("--theme.light.primaryColor=#0072B2", "--theme.dark.primaryColor=#56B4E9")


def serve(settings: Settings, host: str, port: int | None, *, open_browser: bool) -> None:
    """Check what is asked, say the address, and serve until Ctrl-C.

    Raises:
        RequestError: Streamlit is not installed, or the address cannot be listened on.
    """
    if find_spec("streamlit") is None:
        raise RequestError("the dashboard needs Streamlit, which is not installed", do=EXTRA)
    sign_in = _sign_in()
    if sign_in and find_spec("authlib") is None:
        raise RequestError(f"sign-in is set up in {SECRETS} and needs Authlib, which is not installed", do=EXTRA)
    port = _free_port(host, port)
    shown = f"[{host}]" if ":" in host else host
    err.print(f"dashboard: http://{shown}:{port}   (Ctrl-C ends it)", highlight=False)
    if not _is_loopback(host):
        who = "whoever may sign in" if sign_in else "anyone"
        err.print(f"[yellow]open to the network:[/] {who} who reaches {shown}:{port} can read everything in it")
    os.environ.update(settings.to_environment(sign_in=sign_in))
    from click.exceptions import Abort
    from streamlit.web.cli import main as streamlit

    script = str(files("hsray").joinpath("dashboards", "server.py"))
    options = _options(host, port, open_browser=open_browser, sign_in=sign_in)
    for signum in (signal.SIGINT, signal.SIGTERM):  # the way to end it, not an interruption of work
        signal.signal(signum, signal.default_int_handler)
    with suppress(Abort, KeyboardInterrupt):  # the server has closed by now
        streamlit(["run", script, *options], standalone_mode=False)


def _options(host: str, port: int, *, open_browser: bool, sign_in: bool) -> list[str]:
    """How Streamlit serves: loopback means nobody else, and nothing is sent to anyone."""
    options = [
        f"--server.address={host}",
        f"--server.port={port}",
        "--server.fileWatcherType=none",
        "--server.showEmailPrompt=false",
        "--browser.gatherUsageStats=false",
        "--client.toolbarMode=viewer",
        "--client.showErrorDetails=type",
        "--logger.hideWelcomeMessage=true",
        *COLOURS,
    ]
    if not open_browser:
        options.append("--server.headless=true")
    if _is_loopback(host) and not sign_in:  # a page of a stranger's that resolves to loopback gets nothing
        options += [f"--server.allowedHosts={name}" for name in (*LOOPBACK_NAMES, host)]
    return options


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _free_port(host: str, port: int | None) -> int:
    """The port asked for, else the first free one.

    Raises:
        RequestError: there is none.
    """
    problem = ""
    for one in PORTS if port is None else [port]:
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(host, one, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
                return int(tried.getsockname()[1])
        except OSError as error:
            problem = error.strerror or str(error)
    asked = f"port {port}" if port is not None else f"any of the ports {PORTS[0]} to {PORTS[-1]}"
    raise RequestError(f"cannot listen on {asked} of {host}: {problem}", do="give another --port or --host")


def _sign_in() -> bool:
    """Whether Streamlit's secrets file sets up sign-in.

    Raises:
        RequestError: the file is not TOML.
    """
    for path in (Path(SECRETS), Path.home() / SECRETS):
        try:
            if "auth" in tomllib.loads(path.read_text("utf-8")):
                return True
        except FileNotFoundError:
            continue
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            raise RequestError(f"this secrets file cannot be read: {error}", where=str(path)) from error
    return False
