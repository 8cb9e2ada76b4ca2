"""A Ray cluster of several nodes on one machine: every node a raylet of its own, in a network namespace where possible.

With root and iproute2 each node has its own address behind a bridge, so that it can also be cut off from the others;
elsewhere the nodes share the loopback address. Token authentication is on. `close` leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import secrets
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Any

import psutil

# A node is given up after so many checks without an answer; Ray's own patience is made for clouds.
HEALTH = {
    "RAY_health_check_initial_delay_ms": "2000",
    "RAY_health_check_period_ms": "1000",
    "RAY_health_check_timeout_ms": "2000",
    "RAY_health_check_failure_threshold": "5",
}


def namespaces_work() -> bool:
    """Are there root and iproute2, and does the kernel let us make a network namespace?"""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        return False
    name = f"hr-try-{os.getpid()}"
    made = subprocess.run(["ip", "netns", "add", name], capture_output=True, check=False).returncode == 0
    if made:
        _ip("netns", "del", name)
    return made


class Raylet:
    """One node: a `ray start --block` with all that it started."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path, namespace: str | None, link: str | None) -> None:
        self.process, self.log, self.namespace, self.link = process, log, namespace, link

    def pids(self) -> list[psutil.Process]:
        """All processes of the node, workers too."""
        found: dict[int, psutil.Process] = {}
        with suppress(psutil.NoSuchProcess):
            top = psutil.Process(self.process.pid)
            found = {one.pid: one for one in [top, *top.children(recursive=True)]}
        if self.namespace:
            for pid in _ip("netns", "pids", self.namespace).split():
                with suppress(psutil.NoSuchProcess):
                    found[int(pid)] = psutil.Process(int(pid))
        return list(found.values())

    def kill(self) -> None:
        """As if the power went: kill -9 of everything at once."""
        processes = self.pids()
        for one in processes:
            with suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGKILL)
        psutil.wait_procs(processes, timeout=10)
        self.process.wait()

    def workers(self, what: str) -> list[psutil.Process]:
        """Worker processes of the node whose title holds `what` (Ray names them after what they run)."""
        return [one for one in self.pids() if what in _title(one)]

    def cut(self) -> None:
        """Its network is gone, its processes live on. With namespaces only."""
        assert self.link is not None
        _ip("link", "set", self.link, "down")

    def mend(self) -> None:
        """The network is back."""
        assert self.link is not None
        _ip("link", "set", self.link, "up")


class Raylets:
    """The cluster. The head is a node as well, with `cpus` cores; `env` is what a driver on its machine needs."""

    def __init__(self, cpus: float = 1, *, dashboard: bool = True, **node: Any) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="hr-", dir="/tmp"))  # short: sockets lie in it
        self.token = secrets.token_hex(32)
        (self.folder / "token").write_text(self.token)
        (self.folder / "token").chmod(0o600)
        self.nodes: list[Raylet] = []
        self.namespaces = namespaces_work()
        self.bridge = f"hr{self.folder.name[-6:]}"
        self.subnet = f"10.{secrets.randbelow(100) + 100}.{secrets.randbelow(250)}"
        if self.namespaces:
            _ip("link", "add", self.bridge, "type", "bridge")
            _ip("addr", "add", f"{self.ip}/24", "dev", self.bridge)
            _ip("link", "set", self.bridge, "up")
        self.port, self.dashboard_port, self.client_port = free_ports(3, self.ip)
        self.env = {
            "RAY_ADDRESS": f"{self.ip}:{self.port}",
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(self.folder / "token"),
        }
        self.started = 0
        try:
            self.head = self.start_head(cpus, dashboard=dashboard, **node)
        except BaseException:
            self.close()
            raise

    @property
    def ip(self) -> str:
        return f"{self.subnet}.1" if self.namespaces else "127.0.0.1"

    @property
    def dashboard(self) -> str:
        """Where jobs are submitted."""
        return f"http://{self.ip}:{self.dashboard_port}"

    def start_head(self, cpus: float, *, dashboard: bool = True, **node: Any) -> Raylet:
        """The head; again under its old address after `head.kill()`."""
        options = [
            "--head",
            f"--port={self.port}",
            f"--temp-dir={self.folder}/ray",
            f"--ray-client-server-port={self.client_port}",
        ]
        options += [f"--include-dashboard={str(dashboard).lower()}", f"--dashboard-host={self.ip}"]
        options += [f"--dashboard-port={self.dashboard_port}", f"--node-ip-address={self.ip}"]
        self.head = self._start(options, cpus, None, None, **node)
        self._wait(self.head)
        return self.head

    def add(self, cpus: float = 1, *, wait: bool = True, **node: Any) -> Raylet:
        """One more node: `gpus`, `resources` and `labels` as `ray start` takes them.

        `mounts` says what the node sees in the place of folders: another folder, or nothing (None). Needs root.
        """
        number = self.started
        namespace = link = None
        ip = self.ip
        if self.namespaces:
            namespace, link, ip = f"{self.bridge}-{number}", f"{self.bridge}.{number}", f"{self.subnet}.{number + 10}"
            _ip("netns", "add", namespace)
            _ip("link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", namespace)
            _ip("link", "set", link, "master", self.bridge, "up")
            _ip("-n", namespace, "addr", "add", f"{ip}/24", "dev", "eth0")
            _ip("-n", namespace, "link", "set", "eth0", "up")
            _ip("-n", namespace, "link", "set", "lo", "up")
        options = [f"--address={self.ip}:{self.port}", f"--node-ip-address={ip}"]
        raylet = self._start(options, cpus, namespace, link, **node)
        if wait:
            self._wait(raylet)
        return raylet

    def alive(self) -> int:
        """How many nodes the head counts."""
        return len(self._ask("[1 for node in ray.nodes() if node['Alive']]"))

    def available(self) -> dict[str, float]:
        """What no actor and no placement group holds."""
        return self._ask("ray.available_resources()")

    def actors(self) -> list[str]:
        """Classes of the actors that live."""
        return self._ask("[a.class_name for a in ray.util.state.list_actors(limit=1000) if a.state == 'ALIVE']")

    def waiting(self) -> list[dict[str, float]]:
        """The bundles of the placement groups that no node can hold now."""
        groups = "ray.util.placement_group_table().values()"
        return self._ask(f"[b for g in {groups} if g['state'] == 'PENDING' for b in g['bundles'].values()]")

    def close(self) -> None:
        """End all processes, take the namespaces and the folder away."""
        for node in self.nodes:
            node.kill()
            if node.namespace:
                _ip("netns", "del", node.namespace)  # the link goes with it
        if self.namespaces:
            _ip("link", "del", self.bridge)
        shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self) -> Raylets:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None):
        self.close()

    def _start(
        self,
        options: list[str],
        cpus: float,
        namespace: str | None,
        link: str | None,
        *,
        gpus: int = 0,
        resources: dict[str, float] | None = None,
        labels: dict[str, str] | None = None,
        env: dict[str, str] | None = None,
        mounts: dict[Path, Path | None] | None = None,
    ) -> Raylet:
        number, self.started = self.started, self.started + 1
        command = [str(Path(sys.executable).with_name("ray")), "start", "--block", "--disable-usage-stats", *options]
        command += [f"--num-cpus={cpus:g}", f"--num-gpus={gpus}", "--object-store-memory=100000000"]
        command += ["--min-worker-port=0", "--max-worker-port=0", f"--resources={json.dumps(resources or {})}"]
        command += [f"--labels={','.join(f'{key}={value}' for key, value in labels.items())}"] if labels else []
        if mounts:
            command = ["unshare", "--mount", "sh", "-c", f'{_mounting(mounts)}exec "$0" "$@"', *command]
        command = (["ip", "netns", "exec", namespace] if namespace else []) + command
        settings = {key: value for key, value in self.env.items() if key != "RAY_ADDRESS"}
        # The namespaces share a host name, which says nothing of their addresses.
        settings |= {"GLOO_SOCKET_IFNAME": "eth0" if namespace else self.bridge} if self.namespaces else {}
        log = self.folder / f"node-{number}.log"
        kept = {key: value for key, value in os.environ.items() if key != "RAY_ADDRESS"}
        with log.open("wb") as out:
            process = subprocess.Popen(
                command, stdout=out, stderr=out, start_new_session=True, cwd=self.folder,
                env={**kept, **HEALTH, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1", **settings, **(env or {})},
            )  # fmt: skip
        raylet = Raylet(process, log, namespace, link)
        self.nodes.append(raylet)
        return raylet

    def _wait(self, node: Raylet, seconds: float = 120) -> None:
        until = time.monotonic() + seconds
        while "Ray runtime started" not in node.log.read_text():
            if node.process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"a node did not start:\n{node.log.read_text()}")
            time.sleep(0.1)

    def _ask(self, what: str) -> Any:
        """Evaluated by a driver of its own: this process stays free of Ray. Empty while the head is not up."""
        code = (
            "import json, ray, ray.util.state; ray.init(logging_level='critical', log_to_driver=False); "
            f"print('\\n=' + json.dumps({what}))"
        )
        env = {**os.environ, **self.env, "PYTHONWARNINGS": "ignore"}
        done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("=")]
        return json.loads(lines[-1][1:]) if lines else []


def free_ports(count: int, ip: str = "127.0.0.1") -> list[int]:
    """Different ports that nobody listens on now."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.socket()) for _ in range(count)]
        for probe in probes:
            probe.bind((ip, 0))
        return [probe.getsockname()[1] for probe in probes]


def _mounting(mounts: dict[Path, Path | None]) -> str:
    """Commands that give a node a view of its own of some folders."""
    commands = [
        f"mount --bind {shlex.quote(str(source))} {shlex.quote(str(folder))} && " if source else
        f"mount -t tmpfs none {shlex.quote(str(folder))} && "
        for folder, source in mounts.items()
    ]  # fmt: skip
    return "".join(commands)


def _title(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:
        return ""


def _ip(*arguments: str) -> str:
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout
