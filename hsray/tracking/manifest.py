"""What a result was made with: code, packages, machine. No names of hosts or people, no addresses."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib.metadata import distributions
from pathlib import Path
from typing import Any


def manifest() -> dict[str, Any]:
    """State of the code in the working directory, versions of all installed packages, and the hardware."""
    return {
        "git": _git(),
        "python": platform.python_version(),
        "platform": f"{platform.system()} {platform.machine()}",
        "packages": dict(sorted((found.name, found.version) for found in distributions())),
        "cpu": {"model": _cpu_model(), "cores": os.cpu_count()},
        "gpus": _gpus(),
    }


def _git() -> dict[str, Any] | None:
    commit = _output("git", "rev-parse", "HEAD")
    if commit is None:
        return None
    return {"commit": commit, "dirty": bool(_output("git", "status", "--porcelain"))}


def _cpu_model() -> str:
    path = Path("/proc/cpuinfo")
    lines = path.read_text().splitlines() if path.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def _gpus() -> list[dict[str, str]]:
    rows = _output("nvidia-smi", "--query-gpu=name,memory.total,driver_version", "--format=csv,noheader")
    names = ("name", "memory", "driver")
    return [dict(zip(names, map(str.strip, row.split(",")), strict=True)) for row in (rows or "").splitlines()]


def _output(*command: str) -> str | None:
    """What a command prints; None where it is not there or fails."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
