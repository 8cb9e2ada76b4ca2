"""The process group of a run with several workers. Its meeting place listens on the first worker's address alone.

Torch's own would listen on every address of the machine, and whoever reaches it can take part.
"""

from __future__ import annotations

import os
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any

import ray
from ray.train.torch import TorchConfig
from ray.train.torch.config import _set_torch_distributed_env_vars, _setup_torch_process_group, _TorchBackend
from torch.distributed import TCPStore

_held: list[TCPStore] = []  # for as long as the first worker's process lives


@dataclass
class GroupConfig(TorchConfig):
    """Ray Train's settings for torch, with the meeting place of this module."""

    @property
    def backend_cls(self) -> type[_TorchBackend]:
        return _Backend


class _Backend(_TorchBackend):
    def on_start(self, worker_group: Any, backend_config: Any) -> None:
        world = len(worker_group)
        host, port = worker_group.execute_single(0, _open_store, world)
        worker_group.execute(_meet_at, host, port)
        worker_group.execute(_set_torch_distributed_env_vars)
        on_gpu = worker_group.get_resources_per_worker().get("GPU", 0) > 0
        common = {
            "backend": backend_config.backend or ("nccl" if on_gpu else "gloo"), "world_size": world,
            "init_method": "env://", "timeout_s": backend_config.timeout_s,
        }  # fmt: skip
        ray.get([
            worker_group.execute_single_async(rank, _setup_torch_process_group, world_rank=rank, **common)
            for rank in range(world)
        ])  # fmt: skip


def _open_store(world: int) -> tuple[str, int]:
    host = ray.util.get_node_ip_address()
    listener = socket.create_server((host, 0), family=socket.AF_INET6 if ":" in host else socket.AF_INET)
    port = listener.getsockname()[1]
    store = TCPStore(host, port, world, is_master=True, wait_for_workers=False, master_listen_fd=listener.detach())
    _held[:] = [store]
    return host, port


def _meet_at(host: str, port: int) -> None:
    os.environ.update(MASTER_ADDR=host, MASTER_PORT=str(port))
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "True"  # torch joins a store that is there instead of opening one
    if ip_address(host).is_loopback:
        interface = next(name for _, name in socket.if_nameindex() if name.startswith("lo"))
        os.environ.setdefault("GLOO_SOCKET_IFNAME", interface)
        os.environ.setdefault("NCCL_SOCKET_IFNAME", interface)
